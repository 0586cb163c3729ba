"""What one evaluation says, computed from its stored samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_placebo.behaviours.detectors import BEHAVIOURS
from rlvr_placebo.core.statistics import clustered_mean

if TYPE_CHECKING:
    import pyarrow as pa


def summarize(table: pa.Table) -> list[dict[str, Any]]:
    """Summarise an evaluation: one entry per benchmark and temperature.

    Every number is an :class:`~rlvr_placebo.core.statistics.Estimate` as a dict, clustered by
    ``cluster`` (for pocket problems the template). Samples that the verifier could not judge are
    left out of ``accuracy`` and shown as its bounds: all of them wrong, all of them right. The
    behaviour ``long`` is having more words than the median of these samples.

    Args:
        table: the samples, as :func:`rlvr_placebo.evaluate.evaluate.evaluate` returns them.
    """
    columns = {name: np.asarray(table[name].to_pylist(), dtype=object) for name in _COLUMNS}
    pairs = dict.fromkeys(zip(columns["benchmark"], columns["temperature"], strict=True))
    entries = []
    for benchmark, temperature in pairs:
        chosen = (columns["benchmark"] == benchmark) & (columns["temperature"] == temperature)
        part = {name: values[chosen] for name, values in columns.items()}
        entries.append({"benchmark": benchmark, "temperature": temperature, **_entry(part)})
    return entries


_COLUMNS = (
    "benchmark",
    "temperature",
    "cluster",
    "correct",
    *BEHAVIOURS,
    "finish",
    "length",
    "words",
    "mean_probability",
)


def _entry(part: dict[str, np.ndarray]) -> dict[str, Any]:
    """Every number of one benchmark at one temperature."""
    correct = part["correct"]
    known = np.array([c is not None for c in correct])
    right = np.array([c is True for c in correct])
    everything = np.ones(len(correct), dtype=bool)
    long = part["words"].astype(float) > np.median(part["words"].astype(float))
    shows = {name: part[name].astype(bool) for name in BEHAVIOURS} | {"long": long}

    def mean(values: np.ndarray, where: np.ndarray) -> dict[str, Any]:
        clusters = part["cluster"][where].tolist()
        return clustered_mean(values[where].astype(float), clusters, "cluster").as_dict()

    return {
        "accuracy": mean(right, known),
        "accuracy_bounds": [float(right.mean()), float((right | ~known).mean())],
        "unknown": int((~known).sum()),
        # of each behaviour: how often, and how often right with it and without it
        "behaviours": {
            name: {
                "frequency": mean(shown, everything),
                "accuracy_with": mean(right, known & shown),
                "accuracy_without": mean(right, known & ~shown),
            }
            for name, shown in shows.items()
        },
        # the two detectors of code: the one called code, and the paper's "contains python"
        "code_detectors_disagree": mean(shows["code"] != shows["python_mentioned"], everything),
        "truncated": mean(part["finish"] == "length", everything),
        "length": mean(part["length"], everything),
        "words": mean(part["words"], everything),
        # greedy decoding has no sampling probability: its distribution is a point
        "token_probability": mean(part["mean_probability"], part["temperature"] > 0),
    }
