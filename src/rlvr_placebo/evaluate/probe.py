"""The probe of contamination: has a model seen the benchmark (arXiv 2507.10532)?

The model is shown the first part of each problem and goes on greedily. One that has not seen the
benchmark cannot write the rest word for word, nor give the answer to a question it was not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import kept
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.statistics import clustered_mean, interval, share_interval
from rlvr_placebo.evaluate.completion import Continuation, completions_of
from rlvr_placebo.model.checkpoint import Checkpoint
from rlvr_placebo.model.logprobs import completion_logprobs
from rlvr_placebo.model.packing import TokenRows
from rlvr_placebo.rollout.engines import make_engine
from rlvr_placebo.rollout.protocol import check_length
from rlvr_placebo.text.templates import Template, render

if TYPE_CHECKING:
    import pyarrow as pa

SHARES = (0.8, 0.6, 0.4)  # of a problem's words that are shown
SHORTEST = 3  # words of a problem that is cut in two
ROWS = 64  # texts scored at once

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Ask:
    """How a model is probed. Example: ``Ask(("math-500", "aime-2025"), shares=(0.6,))``.

    Attributes:
        benchmarks: the one in question, then one that the model cannot have seen.
        template: the prompt under which gold answers are scored.
        shares: of a problem's words that are shown.
        max_tokens: for the answer, behind what is hidden of the problem.
    """

    benchmarks: tuple[str, ...]
    template: str = "plain"
    shares: tuple[float, ...] = SHARES
    max_tokens: int = 96


def check_probe(ask: Ask) -> None:
    """Refuse a probe that makes no sense, before anything is loaded.

    Raises:
        PlaceboError: what is wrong, and what it may be.
    """
    if not ask.shares or not all(0.05 <= share <= 0.95 for share in ask.shares):
        raise PlaceboError("probe: shares must lie in [0.05, 0.95]")
    if ask.max_tokens < 1:
        raise PlaceboError("probe: --max-tokens must be 1 or more")


def long_enough(
    checkpoint: Checkpoint, name: str, problems: Sequence[Problem], ask: Ask
) -> list[Problem]:
    """The problems that can be cut in two: those of three words or more.

    Raises:
        PlaceboError: there is none, or one is too long for the model.
    """
    enough = [p for p in problems if len(p.question.split()) >= SHORTEST]
    if not enough:
        raise PlaceboError(f"probe: {name} has no problem of {SHORTEST} words or more")
    whole = [checkpoint.tokenizer.prompt(p.question) for p in enough]
    check_length(whole, ask.max_tokens + 8, checkpoint.model.architecture.max_positions)
    return enough


def probe(
    checkpoint: Checkpoint,
    problems: Sequence[Problem],
    template: Template,
    ask: Ask,
    progress: Progress,
    scratch: Path,
) -> tuple[list[dict[str, Any]], pa.Table]:
    """Probe one benchmark.

    Killed and called again with the same ``scratch`` folder, it goes on behind the last share.

    Args:
        checkpoint: the model.
        problems: the benchmark.
        template: the prompt under which the gold answer is scored.
        ask: the shares and lengths.
        progress: hears of shares.
        scratch: a folder for this benchmark's parts; the caller removes it.

    Returns:
        A summary, one entry per share and measure with its interval; and one row per problem and
        share.
    """
    import pyarrow as pa

    engine = make_engine(checkpoint.model, checkpoint.tokenizer)
    clusters = [p.cluster for p in problems]

    def make(share: float) -> pa.Table:
        found = completions_of(engine, checkpoint.tokenizer, problems, share, ask.max_tokens)
        rows = [_row(problem, share, c) for problem, c in zip(problems, found, strict=True)]
        return pa.Table.from_pylist(rows, schema=_schema())

    parts, summary = [], []
    for index, share in enumerate(ask.shares):
        parts.append(kept(scratch / f"{share:g}.parquet", _schema(), partial(make, share)))
        for name, values in _measures(parts[-1].to_pylist()).items():
            summary.append({"share": share, "measure": name, **estimate(values, clusters)})
        progress("shares", index + 1, len(ask.shares) + 1)
    for name, values in _perplexities(checkpoint, problems, template).items():
        summary.append({"share": 1.0, "measure": name, **estimate(values, clusters)})
    progress("shares", len(ask.shares) + 1, len(ask.shares) + 1)
    return summary, pa.concat_tables(parts).combine_chunks()


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        {
            "problem_id": pa.string(),
            "cluster": pa.string(),
            "share": pa.float64(),
            "hidden": pa.string(),
            "written": pa.string(),
            "hidden_numbers": pa.int32(),
            "word_for_word": pa.bool_(),
            "rouge_l": pa.float64(),
            "correct": pa.bool_(),
            "status": pa.string(),
        }
    )


def _row(problem: Problem, share: float, found: Continuation) -> dict[str, Any]:
    verdict = found.judged(problem)
    return {
        "problem_id": problem.id,
        "cluster": problem.cluster,
        "share": share,
        "hidden": found.hidden,
        "written": found.written,
        "hidden_numbers": found.numbers,
        "word_for_word": found.word_for_word,
        "rouge_l": found.rouge_l,
        "correct": verdict.correct,
        "status": str(verdict.status),
    }


def _measures(rows: Sequence[dict[str, Any]]) -> dict[str, list[float | None]]:
    """Values by problem; None where an answer could not be judged."""
    columns = {"word for word": "word_for_word", "ROUGE-L": "rouge_l", "right answer": "correct"}
    return {
        name: [None if row[column] is None else float(row[column]) for row in rows]
        for name, column in columns.items()
    }


def estimate(values: Sequence[float | None], clusters: Sequence[str]) -> dict[str, Any]:
    """Mean over problems with its interval; unknown values are left out, and counted.

    The interval of a share (all values are 0 or 1) is exact, of another mean Student's.
    """
    known = [(v, c) for v, c in zip(values, clusters, strict=True) if v is not None]
    mean = clustered_mean([v for v, _ in known], [c for _, c in known], "cluster")
    is_share = {v for v, _ in known} <= {0.0, 1.0}
    found = share_interval(mean) if is_share else interval([mean])
    return {**asdict(mean), "interval": found, "unknown": len(values) - len(known)}


def contrast(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What the benchmark in question has more than the clean one, with its interval.

    Of two shares or means with their own intervals, by the squares of the distances to their ends
    (MOVER; Zou and Donner 2008), which for shares keeps what is asymmetric about them.
    """
    if None in (one["value"], other["value"]):
        return {"value": None, "interval": None}
    value = one["value"] - other["value"]
    if one["interval"] is None or other["interval"] is None:
        return {"value": value, "interval": None}
    (low, high), (least, most) = one["interval"], other["interval"]
    below = ((one["value"] - low) ** 2 + (most - other["value"]) ** 2) ** 0.5
    above = ((high - one["value"]) ** 2 + (other["value"] - least) ** 2) ** 0.5
    return {"value": value, "interval": (value - below, value + above)}


def _perplexities(
    checkpoint: Checkpoint, problems: Sequence[Problem], template: Template
) -> dict[str, list[float | None]]:
    """Mean surprise per token, in nats (the logarithm of perplexity), of question and gold."""
    tokenizer = checkpoint.tokenizer
    questions = [list(tokenizer.prompt(p.question)) for p in problems]
    asked = [list(render(p, template, tokenizer)) for p in problems]
    golds = [tokenizer.encode(f"\\boxed{{{p.golds[0]}}}") for p in problems]
    return {
        "surprise of the question, nats per token": _surprise(
            checkpoint, [q[:1] for q in questions], [q[1:] for q in questions]
        ),
        "surprise of the gold, nats per token": _surprise(checkpoint, asked, golds),
    }


@torch.no_grad()
def _surprise(
    checkpoint: Checkpoint, prompts: Sequence[list[int]], texts: Sequence[list[int]]
) -> list[float | None]:
    """Minus the mean log-probability of each text behind its prompt."""
    values: list[float | None] = []
    for start in range(0, len(texts), ROWS):
        pairs = list(zip(prompts[start : start + ROWS], texts[start : start + ROWS], strict=True))
        lengths = torch.tensor([len(t) for _, t in pairs])
        rows = TokenRows(
            _padded([p for p, _ in pairs]),
            torch.tensor([len(p) for p, _ in pairs]),
            _padded([t for _, t in pairs]),
            lengths,
            torch.arange(len(pairs)),
        )
        sums = completion_logprobs(checkpoint.model, rows, 1.0).sum(-1)
        values += (-sums / lengths).numpy().astype(np.float64).tolist()
    return values


def _padded(texts: Sequence[list[int]]) -> Tensor:
    longest = max(map(len, texts))
    return torch.tensor([text + [0] * (longest - len(text)) for text in texts])
