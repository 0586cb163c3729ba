"""Trained completions on disk: groups to a Parquet table and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.core.records import (
    Completion,
    Finish,
    Group,
    Problem,
    Rollout,
    Score,
    Status,
    Verification,
    Vote,
)

if TYPE_CHECKING:
    import pyarrow as pa


def to_table(groups: Sequence[Group], step: int, advantages: Sequence[float]) -> pa.Table:
    """One row per rollout: the tokens, what they were sampled with, and what they earned."""
    import pyarrow as pa

    rows = [
        _row(step, place, group, rollout) for place, group in enumerate(groups)
        for rollout in group.rollouts
    ]  # fmt: skip
    for row, advantage in zip(rows, advantages, strict=True):
        row["advantage"] = float(advantage)
    return pa.Table.from_pylist(rows, schema=_schema())


def _schema() -> pa.Schema:
    import pyarrow as pa

    integers, floats = pa.list_(pa.int32()), pa.list_(pa.float32())
    return pa.schema(
        {
            "step": pa.int32(),
            "group": pa.int32(),
            "problem_id": pa.string(),
            "messages": pa.string(),
            "golds": pa.list_(pa.string()),
            "votes": pa.string(),
            "permuted_gold": pa.string(),
            "difficulty": pa.float64(),
            "extra": pa.string(),
            "cluster": pa.string(),
            "source": pa.string(),
            "split": pa.string(),
            "prompt": integers,
            "sample": pa.int32(),
            "seed": pa.uint64(),
            "tokens": integers,
            "logprobs": floats,
            "entropies": floats,
            "certainties": floats,
            "loss_mask": pa.list_(pa.bool_()),
            "versions": integers,
            "finish": pa.string(),
            "text": pa.string(),
            "extracted": pa.string(),
            "correct": pa.bool_(),
            "verification": pa.string(),
            "reward": pa.float64(),
            "status": pa.string(),
            "parts": pa.string(),
            "advantage": pa.float64(),
        }
    )


def _row(step: int, place: int, group: Group, rollout: Rollout) -> dict[str, Any]:
    problem, completion, found = group.problem, rollout.completion, rollout.verification
    score = rollout.score or Score(None, found.correct)
    return {
        "step": step,
        "group": place,
        "problem_id": problem.id,
        "messages": json.dumps(list(map(dict, problem.messages)), sort_keys=True),
        "golds": list(problem.golds),
        "votes": json.dumps([asdict(v) for v in problem.votes], sort_keys=True),
        "permuted_gold": problem.permuted_gold,
        "difficulty": problem.difficulty,
        "extra": json.dumps(problem.extra, sort_keys=True, default=asdict),
        "cluster": problem.cluster,
        "source": problem.source,
        "split": problem.split,
        "prompt": list(group.prompt),
        "sample": rollout.sample,
        "seed": completion.seed,
        "tokens": completion.tokens,
        "logprobs": completion.logprobs,
        "entropies": completion.entropies,
        "certainties": completion.certainties,
        "loss_mask": completion.loss_mask,
        "versions": completion.versions,
        "finish": str(completion.finish),
        "text": completion.text,
        "extracted": found.extracted,
        "correct": found.correct,
        "verification": str(found.status),
        "reward": score.reward,
        "status": str(score.status),
        "parts": json.dumps(dict(score.parts), sort_keys=True),
    }


def from_table(table: pa.Table) -> list[Group]:
    """Rebuild the groups of a stored step, scores included."""
    groups = []
    for _, rows in groupby(table.to_pylist(), key=lambda row: row["group"]):
        members = list(rows)
        first = members[0]
        problem = Problem(
            id=first["problem_id"],
            messages=tuple(json.loads(first["messages"])),
            golds=tuple(first["golds"]),
            cluster=first["cluster"],
            source=first["source"],
            split=first["split"],
            # the first schema had none of the next four, and no certainties
            votes=tuple(Vote(**v) for v in json.loads(first.get("votes", "[]"))),
            permuted_gold=first.get("permuted_gold"),
            difficulty=first.get("difficulty"),
            extra=json.loads(first.get("extra", "{}")),
        )
        rollouts = tuple(_rollout(row) for row in members)
        groups.append(Group(problem, tuple(first["prompt"]), rollouts))
    return groups


def _rollout(row: dict[str, Any]) -> Rollout:
    completion = Completion(
        tokens=np.array(row["tokens"], dtype=np.int32),
        logprobs=np.array(row["logprobs"], dtype=np.float32),
        entropies=np.array(row["entropies"], dtype=np.float32),
        loss_mask=np.array(row["loss_mask"], dtype=bool),
        versions=np.array(row["versions"], dtype=np.int32),
        certainties=np.array(
            row.get("certainties", [np.nan] * len(row["tokens"])), dtype=np.float32
        ),
        finish=Finish(row["finish"]),
        text=row["text"],
        seed=row["seed"],
    )
    found = Verification(row["correct"], Status(row["verification"]), row["extracted"])
    score = Score(row["reward"], row["correct"], json.loads(row["parts"]), Status(row["status"]))
    return Rollout(row["sample"], completion, found, score)
