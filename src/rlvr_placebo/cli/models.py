"""Commands about checkpoints: the paper's models, and what is wrong with one's own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tyro.conf import Positional

from rlvr_placebo.cli.console import for_tables, plain_table
from rlvr_placebo.core.errors import PlaceboError


@dataclass(frozen=True)
class ModelsList:
    """List the paper's ten models and the embedded families, and what each takes."""

    json: bool = False
    """Print the list as JSON."""

    def run(self) -> None:
        """Print one row per model."""
        from rlvr_placebo.model.folders import built_families, shipped_families
        from rlvr_placebo.study.gpu import memory_of

        rows = memory_of()
        families = [*shipped_families(), *(built_families().keys() - shipped_families().keys())]
        if self.json:
            print(json.dumps({"published": rows, "embedded": families}, indent=2))
            return
        _print_models(rows)
        print(f"embedded: {', '.join(families)}")
        print("any other checkpoint: by its folder or hub id; `placebo models check FOLDER` looks "
              "at it first")  # fmt: skip


def _print_models(rows: list[dict[str, Any]]) -> None:
    table = plain_table("the paper's models; GB reckoned from shapes, bf16 beside float32")
    for name in ("model", "parameters", "prompt", "evaluate", "LoRA", "train"):
        table.add_column(name, justify="left" if name in ("model", "prompt") else "right")
    for row in rows:
        memory = (f"{row[what] / 1e9:.0f}" for what in ("evaluation", "lora", "full"))
        table.add_row(row["model"], f"{row['parameters'] / 1e9:.2f} G", row["template"], *memory)
    for_tables().print(table)


@dataclass(frozen=True)
class ModelsCheck:
    """Say what is wrong with a checkpoint: configuration, weights, tokenizer, stops, chat."""

    model: Positional[str]
    """Its folder, an embedded family, or a hub id."""
    json: bool = False
    """Print the remarks as JSON."""

    def run(self) -> None:
        """Print one line per remark; exit with 1 where something is wrong."""
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.model.check import check_checkpoint
        from rlvr_placebo.model.folders import locate

        folder = locate(self.model)
        with Display(0) as display:
            remarks = check_checkpoint(folder, lambda *at: display.progress("tensors", *at))
        if self.json:
            print(json.dumps([asdict(remark) for remark in remarks], indent=2))
        else:
            for one in remarks:
                print(f"{one.status:5}  {one.about}: {one.says}")
        wrong = sum(one.status == "wrong" for one in remarks)
        if wrong:
            raise PlaceboError(f"{folder}: {wrong} things are wrong" if wrong > 1 else
                               f"{folder}: one thing is wrong")  # fmt: skip
