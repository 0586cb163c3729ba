"""Votes of the untrained model on the training problems: sampled, counted, kept, attached.

Every problem keeps its gold, each raw answer, the classes of equal answers with their counts, and
the version of the verifier that told them apart. A problem without any answer, or without an answer
that is known to be wrong, has no label for *majority vote* or *incorrect*: it leaves the pool of
every run that asks for labels, whatever the reward, and is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_placebo.analysis.labels import read_votes
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest, kept
from rlvr_placebo.core.records import Problem
from rlvr_placebo.core.seeds import generator_for, seed_for
from rlvr_placebo.rollout.protocol import Engine, Sampling
from rlvr_placebo.text.problems import content_hash
from rlvr_placebo.verify.extract import extract_answer
from rlvr_placebo.verify.judge import VERSION
from rlvr_placebo.verify.vote import count_votes, wrong

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "labels.parquet"
MOST = 100_000  # samples of a problem
BLOCK = 1024  # samples between two parts on disk

Progress = Callable[[int, int], None]  # (problems done, problems in all)


@dataclass(frozen=True)
class LabelsConfig:
    """Votes of the untrained model on the training problems."""

    samples: int = 0
    """Samples of the untrained model per training problem; 0: no labels, the whole pool."""
    temperature: float = 1.0
    """Of these samples."""
    seed: int = 0
    """Of these samples; the same for every run of a study."""
    wrong_answers: int = 1
    """The pool keeps problems with at least so many different wrong answers."""
    folder: str = ""
    """Use the labels in this folder (`placebo labels build`) instead of sampling."""

    @property
    def wanted(self) -> bool:
        """Whether a run has labels at all."""
        return self.samples > 0 or bool(self.folder)


@dataclass(frozen=True, eq=False)
class Asked:
    """What labels are made from: problems, their prompts, and how the model is sampled."""

    problems: Sequence[Problem]
    prompts: Sequence[Sequence[int]]
    how: LabelsConfig
    max_tokens: int
    stops: tuple[str, ...] = ()
    extraction: str = "none"

    def key(self, model_digest: str) -> str:
        """Hash of all that decides the labels."""
        aside = ("folder", "wrong_answers")
        own = {k: v for k, v in asdict(self.how).items() if k not in aside}
        content = [content_hash(self.problems), list(map(list, self.prompts))]
        return digest(
            [
                model_digest,
                own,
                self.max_tokens,
                list(self.stops),
                VERSION,
                self.extraction,
                content,
            ]
        )


def sample_votes(
    engine: Engine, asked: Asked, scratch: Path, progress: Progress = lambda done, total: None
) -> pa.Table:
    """Sample the model on every problem and count its answers.

    Killed and called again with the same ``scratch`` folder, it goes on where it was.

    Args:
        engine: holds the untrained model.
        asked: the problems and how to sample.
        scratch: a folder for parts; the caller removes it when the table is safe.
        progress: called after every part.

    Returns:
        One row per problem; see :func:`_row` for the columns.
    """
    import pyarrow as pa

    def make(block: slice) -> pa.Table:
        problems = asked.problems[block]
        seeds = [
            [seed_for(asked.how.seed, 0, p.id, i, "labels") for i in range(asked.how.samples)]
            for p in problems
        ]
        groups = engine.generate(asked.prompts[block], sampling, seeds)
        rows = [
            _row(problem, [extract_answer(c.text, asked.extraction) for c in group])
            for problem, group in zip(problems, groups, strict=True)
        ]
        return pa.Table.from_pylist(rows, schema=_schema())

    parts = []
    block = max(1, BLOCK // asked.how.samples)
    sampling = Sampling(asked.how.temperature, 1.0, asked.max_tokens, asked.stops)
    for start in range(0, len(asked.problems), block):
        work = partial(make, slice(start, start + block))
        parts.append(kept(scratch / f"part-{start:06d}.parquet", _schema(), work))
        progress(min(start + block, len(asked.problems)), len(asked.problems))
    return pa.concat_tables(parts)


def is_labels(table: pa.Table) -> bool:
    """Whether a table is one of labels, with at least one problem and votes that can be read."""
    if not table.schema.equals(_schema()) or not table.num_rows:
        return False
    try:
        read_votes(table)
    except (ValueError, TypeError):
        return False
    return True


def _schema() -> pa.Schema:
    import pyarrow as pa

    texts = pa.list_(pa.string())
    return pa.schema(
        {
            "problem_id": pa.string(),
            "question": pa.string(),
            "golds": texts,
            "cluster": pa.string(),
            "answers": texts,
            "votes": pa.string(),
            "samples": pa.int32(),
            "empty": pa.int32(),
            "unparsable": pa.int32(),
            "tie": pa.bool_(),
            "verifier": pa.string(),
        }
    )


def _row(problem: Problem, answers: list[str | None]) -> dict[str, Any]:
    """The votes on one problem."""
    ballot = count_votes(answers, problem.golds)
    return {
        "problem_id": problem.id,
        "question": problem.question,
        "golds": list(problem.golds),
        "cluster": problem.cluster,
        "answers": answers,
        "votes": json.dumps([asdict(v) for v in ballot.votes], sort_keys=True),
        "samples": len(answers),
        "empty": ballot.empty,
        "unparsable": ballot.unparsable,
        "tie": ballot.tie,
        "verifier": VERSION,
    }


@dataclass(frozen=True)
class Dropped:
    """Problems that left the pool of every run, by reason.

    Example: ``Dropped(without_any_answer=0, without_enough_wrong_answers=11)``.
    """

    without_any_answer: int
    without_enough_wrong_answers: int


def attach(
    problems: Sequence[Problem], table: pa.Table, wrong_answers: int = 1
) -> tuple[list[Problem], Dropped]:
    """Give each problem its votes; drop those with too few wrong answers to have every label.

    Raises:
        PlaceboError: the table lacks a problem, or none is left.
    """
    votes = read_votes(table)
    missing = sum(p.id not in votes for p in problems)
    if missing:
        raise PlaceboError(f"labels: {missing} of {len(problems)} training problems have none")
    silent = [p for p in problems if not votes[p.id]]
    kept = [
        replace(p, votes=votes[p.id]) for p in problems if len(wrong(votes[p.id])) >= wrong_answers
    ]
    if not kept:
        raise PlaceboError(
            f"labels: no training problem has {wrong_answers} answer(s) known to be wrong; raise "
            "labels.samples, or choose another pool"
        )
    return kept, Dropped(len(silent), len(problems) - len(kept) - len(silent))


def permute_golds(problems: Sequence[Problem], run_seed: int) -> list[Problem]:
    """Give each problem the gold answer of another one of the pool.

    The answers go round one random circle through all problems, so that each is used once and none
    stays (another problem's answer may happen to be the same). The circle is a function of the
    run's seed and the pool: arms of one seed share it, seeds differ.
    """
    if len(problems) < 2:
        return list(problems)
    order = generator_for(run_seed, 0, "", 0, "permuted golds").permutation(len(problems))
    permuted: list[Problem] = list(problems)
    for place, index in enumerate(order):
        other = problems[int(order[place - 1])]
        permuted[int(index)] = replace(problems[int(index)], permuted_gold=other.golds[0])
    return permuted
