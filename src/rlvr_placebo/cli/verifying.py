"""``placebo verify``: one pair with its reasons, or a file of pairs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tyro.conf import Positional

from rlvr_placebo.core.errors import PlaceboError


@dataclass(frozen=True)
class Verify:
    """Is an answer right? One pair, with reasons, or a file of pairs (JSONL: gold, answer)."""

    file: Positional[Path | None] = None
    """A .jsonl file with gold and answer in each line."""
    out: Path | None = None
    """Of a file: where one line for each goes (correct, status, extracted), in the same order."""
    gold: str | None = None
    """Of one pair: the right answer."""
    answer: str | None = None
    """Of one pair: the given answer, or a whole completion that states it."""
    workers: int = 2
    """Processes for what needs algebra."""
    check: bool = False
    """Have a second, independent judge compute the values too, and list where it disagrees."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Judge and print."""
        one = (self.gold, self.answer)
        if self.file is not None and one == (None, None):
            if self.out is None:
                raise PlaceboError("verify: a file needs --out FILE for the judgements")
            self._file(self.file, self.out)
        elif self.file is None and None not in (self.gold, self.answer) and self.out is None:
            assert self.gold is not None
            assert self.answer is not None
            self._pair(self.gold, self.answer)
        else:
            raise PlaceboError("verify: give --gold and --answer alone, or a FILE and --out")

    def _pair(self, gold: str, answer: str) -> None:
        from rlvr_placebo.verify.canonical import canonical
        from rlvr_placebo.verify.files import stated
        from rlvr_placebo.verify.judge import judge
        from rlvr_placebo.verify.numeric import value_of

        extracted = stated(answer) or ""
        finding = judge(gold, extracted)
        found = {
            **asdict(finding),
            "extracted": extracted,
            "gold_read_as": " ".join(canonical(gold)).strip(),
            "answer_read_as": " ".join(canonical(extracted)).strip(),
            "values": [value_of(gold), value_of(extracted)],
        }
        if self.json:
            print(json.dumps(found, ensure_ascii=False, indent=2))
            return
        said = {True: "right", False: "wrong", None: f"unknown ({finding.status})"}
        print(f"{said[finding.correct]}, by the rule: {finding.rule}")
        print(f"gold   {gold}  read as  {found['gold_read_as']}")
        print(f"answer {extracted}  read as  {found['answer_read_as']}")
        if None not in found["values"]:
            print(f"values by a second judge: {found['values'][0]:.12g}, {found['values'][1]:.12g}")

    def _file(self, path: Path, out: Path) -> None:
        from rlvr_placebo.cli.progress import Display
        from rlvr_placebo.verify.files import verify_file

        with Display(0) as display:
            summary = verify_file(path, out, self.workers, self.check, display.progress)
        if self.json:
            print(json.dumps(vars(summary), ensure_ascii=False, indent=2))
            return
        parts = ", ".join(f"{count} {name}" for name, count in summary.counts.most_common())
        print(f"{summary.lines} pairs: {parts}; written: {out}")
        if self.check:
            print(
                f"a second judge, which knows numbers alone, could judge {summary.checked} of them "
                f"and disagrees on {summary.disagreements}"
            )
            for example in summary.examples:
                print(json.dumps(example, ensure_ascii=False))
