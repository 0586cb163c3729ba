"""Labels in a folder of their own: made once, used by any run on the same problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import read_table, write_table
from rlvr_placebo.core.rundir import PARTS, RunDirectory, claim
from rlvr_placebo.labels.votes import FILE, MOST, Asked, LabelsConfig, is_labels, sample_votes
from rlvr_placebo.model.checkpoint import load
from rlvr_placebo.rollout.engines import make_engine
from rlvr_placebo.rollout.protocol import check_length
from rlvr_placebo.text.problems import content_hash, load_problems
from rlvr_placebo.text.templates import get_template, render
from rlvr_placebo.verify.judge import VERSION

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Request:
    """What labels are asked for. Example: ``Request("pocket/no-code", "pocket-train@640", …)``."""

    model: str
    pool: str
    template: str
    max_tokens: int
    how: LabelsConfig


def build_labels(
    request: Request, out: Path, progress: Callable[[str, int, int], None]
) -> pa.Table:
    """Sample the model on the pool and write the votes; killed, the same call goes on.

    Raises:
        PlaceboError: a mistake in the request, or a folder that holds something else.
    """
    how = request.how
    if not (1 <= how.samples <= MOST and request.max_tokens >= 1 and 0 <= how.seed < 2**63):
        raise PlaceboError(
            f"labels: --samples must lie in [1, {MOST}], --max-tokens be 1 or more, --seed lie in "
            "[0, 2^63)"
        )
    if not 0.01 <= how.temperature <= 100:
        raise PlaceboError("labels: --temperature must lie in [0.01, 100]")
    problems = load_problems(request.pool)
    template = get_template(request.template)
    checkpoint = load(request.model)
    prompts = [render(p, template, checkpoint.tokenizer) for p in problems]
    check_length(prompts, request.max_tokens, checkpoint.model.architecture.max_positions)
    document = {
        **asdict(request),
        "model_digest": checkpoint.digest,
        "pool_digest": content_hash(problems),
        "verifier": VERSION,
    }
    with claim(out, document, resume=True) as directory:
        if directory.finished:
            directory.must_be_whole()
            return read_table(out / FILE)
        asked = Asked(problems, prompts, how, request.max_tokens, template.stops)
        engine = make_engine(checkpoint.model, checkpoint.tokenizer)
        parts = out / PARTS
        table = sample_votes(engine, asked, parts, lambda done, total: progress("problems", done,
                                                                               total))  # fmt: skip
        write_table(out / FILE, table)
        directory.finish({"problems": len(problems)})
        return table


def open_labels(folder: Path) -> pa.Table:
    """Read the labels of a folder, or of a run's directory.

    Raises:
        PlaceboError: there are none, or they are not whole.
    """
    if not (folder / FILE).is_file():
        raise PlaceboError(f"{folder}: holds no labels ({FILE}); `placebo labels build` makes them")
    run = RunDirectory(folder)
    if run.finished:
        run.must_be_whole()
    table = read_table(folder / FILE)
    if not is_labels(table):
        raise PlaceboError(f"{folder / FILE}: holds no labels, or damaged ones")
    return table
