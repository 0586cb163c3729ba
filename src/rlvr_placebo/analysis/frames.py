"""A study as tidy tables: one row per run, step, evaluation, behaviour, arm or warning.

:func:`open_study` is the door for notebooks. Tables are ``polars`` frames, made of the run
directories when they are asked for, and of whatever is there while a study is still running.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_placebo.analysis.arms import gains
from rlvr_placebo.analysis.folder import PARTS, RunStatus, StudyFolder, laps_of
from rlvr_placebo.analysis.quality import reward_quality, scored
from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.core.rundir import RunDirectory

if TYPE_CHECKING:
    import polars as pl

ARM = ("model", "reward", "variant")
OWN = ("name", *ARM, "seed")  # what names a run in every table
VERDICT = "verdict.json"


def open_study(path: Path | str) -> StudyFrames:
    """Open a study's folder for analysis.

    Example::

        study = rlvr_placebo.open_study("runs/demo")
        study.gains.filter(pl.col("temperature") == 1).sort("gain")
        study.rollouts("code-prior-format-1", step=10).filter(pl.col("reward") > 0)

    Args:
        path: the folder of a study, finished or not.

    Raises:
        PlaceboError: it is none, or ``polars`` is not installed.
    """
    frames()
    return StudyFrames(StudyFolder.open(Path(path)))


def frames() -> Any:  # noqa: ANN401 (a module)
    """``polars``, imported late.

    Raises:
        PlaceboError: it is not installed.
    """
    try:
        import polars
    except ImportError:
        raise PlaceboError("tables need polars: pip install 'rlvr-placebo[frames]'") from None
    return polars


class StudyFrames:
    """The tables of one study; each is read when it is first asked for, and kept.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: StudyFolder) -> None:
        """Read nothing yet."""
        self.folder = folder

    def __repr__(self) -> str:
        """Its name, and how far it is."""
        done = len(self.folder.finished_runs())
        name = self.folder.document["name"]
        return f"StudyFrames({name!r}, {done} of {len(self.folder.names)} runs finished)"

    @cached_property
    def runs(self) -> pl.DataFrame:
        """One row per run: its arm and seed, how far it is, and mean seconds of its steps."""
        return self._frame(
            {**_own(entry), **_status(status), **_seconds(self.folder.run(entry["name"]))}
            for entry, status in zip(self._entries, self.folder.status(), strict=True)
        )

    @cached_property
    def steps(self) -> pl.DataFrame:
        """One row per run and training step: everything that was logged as one number."""
        return self._frame(
            {**_own(entry), "step": record["step"], **_numbers(record)}
            for entry, run in self._begun()
            for record in run.metrics("step")
        )

    @cached_property
    def evaluations(self) -> pl.DataFrame:
        """One row per run, evaluation, benchmark and temperature.

        ``accuracy`` and its like are shares of one, each with ``_stderr``, clustered by problem
        template; ``accuracy_low`` and ``accuracy_high`` count every unknown wrong, and right.
        """
        return self._frame(
            {**head, **_estimates(entry), "unknown": entry["unknown"],
             "accuracy_low": entry["accuracy_bounds"][0],
             "accuracy_high": entry["accuracy_bounds"][1]}
            for head, entry in self._summaries()
        )  # fmt: skip

    @cached_property
    def behaviours(self) -> pl.DataFrame:
        """One row per run, evaluation, benchmark, temperature and behaviour.

        How often it was shown (``frequency``), and accuracy with it and without it.
        """
        return self._frame(
            {**head, "behaviour": name, **_estimates(found)}
            for head, entry in self._summaries()
            for name, found in entry["behaviours"].items()
        )

    @cached_property
    def gains(self) -> pl.DataFrame:
        """One row per arm, benchmark and temperature, of finished runs; points per hundred.

        What :func:`rlvr_placebo.analysis.arms.gains` says, with its 95 % interval as ``low`` and
        ``high``.
        """
        finished = self.folder.finished_runs()
        return self._frame(
            {key: value for key, value in entry.items() if not isinstance(value, list | tuple)}
            | _ends(entry["interval"]) | {"seeds": len(entry["seeds"])}
            for entry in (gains(finished) if finished else [])
        )  # fmt: skip

    @cached_property
    def rewards(self) -> pl.DataFrame:
        """One row per arm: what its reward knows of right and wrong, on what it trained on.

        ``tpr``, ``fpr`` and Youden's J within groups and pooled, as far as they are defined.
        """
        return self._frame(
            {**dict(zip(ARM, arm, strict=True)), **_flat(reward_quality(scored(runs)))}
            for arm, runs in self._arms().items()
        )

    @cached_property
    def warnings(self) -> pl.DataFrame:
        """One row per warning that a run gave."""
        return self._frame(
            {**_own(entry), "step": record["step"], "warning": line}
            for entry, run in self._begun()
            for record in run.metrics("step")
            for line in record["warnings"]
        )

    @property
    def verdict(self) -> dict[str, Any] | None:
        """The verdict's document (``placebo verdict``); None where none has been given."""
        known = (self.folder.path / VERDICT).exists()
        return RunDirectory(self.folder.path).read_json(VERDICT) if known else None

    def rollouts(self, name: str, step: int | None = None) -> pl.DataFrame:
        """The completions that a run was trained on, of one step or of all.

        Raises:
            PlaceboError: there is no such run, or it has none of that step.
        """
        return self._table(name, "rollouts", step)

    def samples(self, name: str, step: int | None = None) -> pl.DataFrame:
        """The answers of a run's evaluations, behind one step or all; step 0 is untrained.

        Raises:
            PlaceboError: there is no such run, or it was not evaluated then.
        """
        return self._table(name, "evaluations", step)

    # ---- how they are read ---------------------------------------------------------------------

    @property
    def _entries(self) -> list[dict[str, Any]]:
        return self.folder.document["runs"]

    def _begun(self) -> Iterator[tuple[dict[str, Any], RunDirectory]]:
        """Runs that have logged something."""
        for entry in self._entries:
            run = self.folder.run(entry["name"])
            if (run.path / "metrics.jsonl").exists():
                yield entry, run

    def _arms(self) -> dict[tuple[str, ...], list[RunDirectory]]:
        arms: dict[tuple[str, ...], list[RunDirectory]] = {}
        for entry, run in self._begun():
            arms.setdefault(tuple(entry[key] for key in ARM), []).append(run)
        return arms

    def _summaries(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for entry, run in self._begun():
            for record in run.metrics("evaluation"):
                for summary in record["summary"]:
                    own = {key: summary[key] for key in ("benchmark", "temperature")}
                    yield {**_own(entry), "step": record["step"], **own}, summary

    def _table(self, name: str, kind: str, step: int | None) -> pl.DataFrame:
        if name not in self.folder.names:
            raise PlaceboError(f"unknown run {name!r}; {suggest(name, self.folder.names)}")
        place = self.folder.run(name).path / kind
        wanted = "step-*.parquet" if step is None else f"step-{step:06d}.parquet"
        files = sorted(place.glob(wanted))
        if not files:
            of = "" if step is None else f" of step {step}"
            raise PlaceboError(f"run {name}: has no {kind}{of} (yet)")
        polars = frames()
        parts = [
            polars.read_parquet(file).with_columns(step=polars.lit(int(file.stem[5:])))
            for file in files
        ]
        return polars.concat(parts, how="diagonal")

    @staticmethod
    def _frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
        return frames().DataFrame(list(rows), infer_schema_length=None)


def _own(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in OWN}


def _status(status: RunStatus) -> dict[str, Any]:
    return {"state": status.state, "done": status.done, "steps": status.steps}


def _seconds(run: RunDirectory) -> dict[str, float | None]:
    laps = laps_of(run)
    count = max(1, len(laps))
    return {
        "seconds_per_step": sum(lap.total for lap in laps) / count if laps else None,
        f"seconds_of_{PARTS[0]}": sum(lap.generation for lap in laps) / count if laps else None,
    }


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """What one record holds as single numbers."""
    return {
        key: float(value) for key, value in record.items()
        if key != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }  # fmt: skip


def _estimates(found: Mapping[str, Any]) -> dict[str, float | None]:
    """The estimates of an entry, each as its value and its error."""
    columns: dict[str, float | None] = {}
    for key, value in found.items():
        if isinstance(value, Mapping) and "stderr" in value:
            columns |= {key: value["value"], f"{key}_stderr": value["stderr"]}
    return columns


def _flat(found: Mapping[str, Any]) -> dict[str, Any]:
    single = {k: v for k, v in found.items() if isinstance(v, int | float | str) or v is None}
    return {**single, **_estimates(found)}


def _ends(interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}
