"""Evaluate a model on a benchmark under a contract; every sample is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.behaviours.detectors import BEHAVIOURS, label, words
from rlvr_placebo.core.files import digest, kept
from rlvr_placebo.core.records import Completion, Problem, Verification
from rlvr_placebo.core.seeds import seed_for
from rlvr_placebo.evaluate.contract import Contract, Decoding
from rlvr_placebo.rollout.protocol import Engine, Sampling
from rlvr_placebo.verify.meanwhile import Meanwhile

if TYPE_CHECKING:
    import pyarrow as pa

REPORT = 64  # samples between two reports of progress

Progress = Callable[[int, int], None]  # (samples done, samples in all)


def evaluate(
    engine: Engine,
    problems: Sequence[Problem],
    prompts: Sequence[Any],
    contract: Contract,
    progress: Progress = lambda done, total: None,
    scratch: Path | None = None,
) -> pa.Table:
    """Generate and judge every sample of a contract.

    Killed and called again with the same ``scratch`` folder, it goes on where it was.

    Args:
        engine: holds the model.
        problems: the benchmark.
        prompts: of each problem, under the contract's template: token ids, or what else the engine
            takes.
        contract: what is measured.
        progress: called as samples are finished.
        scratch: a folder for finished blocks; the caller removes it when the table is safe.

    Returns:
        One row per sample; see :func:`sample_row` for the columns.
    """
    import pyarrow as pa

    def make(decoding: Decoding, block: slice) -> pa.Table:
        sampling = Sampling(decoding.temperature, 1.0, contract.max_tokens, contract.stop_texts)
        seeds = [_seeds(contract, problem, decoding) for problem in problems[block]]
        asked, before = problems[block], sum(part.num_rows for part in parts)
        with Meanwhile(contract.extraction) as verified:

            def finished(p: int, i: int, completion: Completion) -> None:
                verified.add((p, i), completion.text, asked[p].golds)
                if len(verified) % REPORT == 0:
                    progress(before + len(verified), total)

            groups = engine.generate(prompts[block], sampling, seeds, finished)
            rows = [
                sample_row(contract, asked[p], decoding.temperature, i, completion, verified[p, i])
                for p, group in enumerate(groups)
                for i, completion in enumerate(group)
            ]
        progress(before + len(rows), total)
        return pa.Table.from_pylist(rows, schema=_schema())

    parts: list[pa.Table] = []
    total = len(problems) * sum(d.samples for d in contract.decodings)
    for decoding in contract.decodings:
        size = max(1, engine.block // decoding.samples)
        for start in range(0, len(problems), size):
            block = f"{decoding.temperature!r}-{start:06d}-{size}"
            name = f"{digest(contract.as_dict())}-{block}.parquet"
            work = partial(make, decoding, slice(start, start + size))
            parts.append(kept(scratch and scratch / name, _schema(), work))
    return pa.concat_tables(parts).combine_chunks()


def _schema() -> pa.Schema:
    """Columns of an evaluation; fixed, so that a column of unknowns keeps its type."""
    import pyarrow as pa

    return pa.schema(
        {
            "benchmark": pa.string(),
            "problem_id": pa.string(),
            "cluster": pa.string(),
            "question": pa.string(),
            "gold": pa.string(),
            "temperature": pa.float64(),
            "sample": pa.int32(),
            "text": pa.string(),
            "tokens": pa.list_(pa.int32()),
            "length": pa.int32(),
            "words": pa.int32(),
            "finish": pa.string(),
            "mean_probability": pa.float64(),
            "extracted": pa.string(),
            "correct": pa.bool_(),
            "status": pa.string(),
            **{name: pa.bool_() for name in BEHAVIOURS},
        }
    )


def _seeds(contract: Contract, problem: Problem, decoding: Decoding) -> list[int]:
    purpose = f"evaluation at T={decoding.temperature:g}"
    return [seed_for(contract.seed, 0, problem.id, i, purpose) for i in range(decoding.samples)]


def _mean_probability(completion: Completion) -> float | None:
    """Of the tokens sampled; None where a server keeps them to itself."""
    logprobs = completion.logprobs.astype(np.float64)
    return float(np.exp(logprobs).mean()) if len(logprobs) else None


def sample_row(
    contract: Contract, problem: Problem, temperature: float, sample: int, completion: Completion,
    found: Verification,
) -> dict[str, Any]:  # fmt: skip
    """One evaluated sample as a row: what was asked, what came, what it is worth, what it does."""
    return {
        "benchmark": contract.benchmark,
        "problem_id": problem.id,
        "cluster": problem.cluster,
        "question": problem.question,
        "gold": problem.golds[0] if problem.golds else None,
        "temperature": temperature,
        "sample": sample,
        "text": completion.text,
        "tokens": completion.tokens.tolist(),
        "length": len(completion),
        "words": words(completion.text),
        "finish": str(completion.finish),
        "mean_probability": _mean_probability(completion),
        "extracted": found.extracted,
        "correct": found.correct,
        "status": str(found.status),
        **label(completion.text),
    }
