"""What a table of labels says: how many votes, how right, what had to be left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.core.records import Vote
from rlvr_placebo.core.statistics import clustered_mean
from rlvr_placebo.verify.vote import wrong

if TYPE_CHECKING:
    import pyarrow as pa


def read_votes(table: pa.Table) -> dict[str, tuple[Vote, ...]]:
    """The votes of a table of labels, by problem."""
    return {
        row["problem_id"]: tuple(Vote(**v) for v in json.loads(row["votes"]))
        for row in table.select(["problem_id", "votes"]).to_pylist()
    }


def describe_labels(table: pa.Table) -> dict[str, Any]:
    """Counts of a table of labels, and how often the majority is right.

    Returns:
        ``problems``, ``samples``, shares of empty and unparsable samples, number of ties, problems
        without any answer or without a wrong one, ``majority_right`` as an estimate, and of the
        *incorrect* labels how many are tied with another wrong answer or rest on a single vote.
    """
    rows = table.to_pylist()
    votes = read_votes(table)
    voted = [row for row in rows if votes[row["problem_id"]]]
    right = [votes[row["problem_id"]][0].correct is True for row in voted]
    samples = sum(row["samples"] for row in rows)
    unlabelled = sum(not wrong(v) for v in votes.values())
    clusters = [row["cluster"] for row in voted]
    errors = [w for w in map(wrong, votes.values()) if w]
    return {
        "problems": len(rows),
        "samples": samples,
        "empty": sum(row["empty"] for row in rows) / samples,
        "unparsable": sum(row["unparsable"] for row in rows) / samples,
        "ties": sum(row["tie"] for row in rows),
        "no_answer": len(rows) - len(voted),
        "no_wrong_answer": unlabelled - (len(rows) - len(voted)),
        "incorrect_ties": sum(len(w) > 1 and w[0].count == w[1].count for w in errors),
        "incorrect_single_votes": sum(w[0].count == 1 for w in errors),
        "majority_right": clustered_mean(np.array(right, float), clusters, "cluster").as_dict(),
        "verifier": sorted({row["verifier"] for row in rows}),
    }
