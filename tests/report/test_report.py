"""The report: one page that needs nothing else, right at any moment of a study."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import escape

from rlvr_placebo.analysis.arms import gains
from rlvr_placebo.analysis.curves import curve
from rlvr_placebo.analysis.folder import StudyFolder
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.report.page import write_report


class Page(HTMLParser):
    """Collects tags, links and texts; complains of tags that do not close."""

    VOID = ("meta", "circle", "line", "polyline", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tags, self.rows = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href", "srcset", "data", "action")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, text):
        if self.rows and text.strip() and self.open[-1] in ("td", "th", "code"):
            self.rows[-1].append(text.strip())


def test_one_page_that_needs_nothing_else(study):
    path = write_report(study)
    text = path.read_text()
    page = Page(text)
    assert page.links == []
    assert not re.search(r"https?://|@import|url\(", text)
    assert "script" not in page.tags
    assert path.stat().st_size < 3_000_000
    assert "A &lt;b&gt;bold&lt;/b&gt; study" in text
    assert "Is 3 &lt; 4 &amp; so on?" in text
    assert page.tags.count("svg") == 2 + 3  # intervals at two temperatures, curves of three rewards
    assert text.count("<polyline") == 3 * 2 * 3  # accuracy and code: two seeds and their mean


def test_its_numbers_are_those_of_the_analysis(study):
    page = Page(write_report(study).read_text())
    entries = gains(StudyFolder.open(study).finished_runs())
    shown = [row for row in page.rows if len(row) == 10 and row[0] != "reward"]
    for e in entries:
        low, high = e["interval"] or (None, None)
        row = [
            e["reward"],
            f"{e['base']:.1f}±{e['base_stderr']:.1f}",
            f"{e['final']:.1f}±{e['final_stderr']:.1f}",
            f"{e['gain']:+.1f}",
            "no spread" if low is None else f"{low:+.1f} to {high:+.1f}",
        ]
        assert row in [r[:5] for r in shown]
    constant = [e for e in entries if e["reward"] == "constant(0.5)"]
    assert {(e["gain"], e["interval"]) for e in constant} == {(0.0, None)}


def test_warnings_labels_and_runs_are_there(study):
    text = write_report(study).read_text()
    assert "constant reward: all 16 completions got 0.5" in text
    assert "and 1 more times" in text
    assert "<h2>Labels</h2>" in text
    for name in StudyFolder.open(study).names:
        assert f"<code>{name}</code>" in text


def test_an_unfinished_study_has_a_report(study, tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "study.json").write_text((study / "study.json").read_text())
    text = write_report(folder).read_text()
    assert "0 of 6 runs finished" in text
    assert "No run is finished yet." in text
    Page(text)
    with pytest.raises(PlaceboError, match="not a study's folder"):
        write_report(tmp_path)


def test_damaged_runs_are_not_reported(study, tmp_path):
    copy = tmp_path / "s"
    shutil.copytree(study, copy)
    name = StudyFolder.open(copy).names[0]
    (copy / "runs" / name / "environment.json").unlink()  # outside the checksums
    write_report(copy)
    metrics = copy / "runs" / name / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("0.", "1."))
    with pytest.raises(PlaceboError, match=r"damaged: metrics\.jsonl"):
        write_report(copy)


@pytest.mark.parametrize(
    "change",
    [{"store": 3}, {"runs": 3}, {"runs": [3]}, {"runs": [{}]}, {"name": 1}, {"schema": 99},
     {"runs": [{"name": "../../x", "model": "m", "reward": "r", "variant": "v", "seed": 1,
                "steps": 1}]}],
)  # fmt: skip
def test_a_damaged_study_is_one_line(study, tmp_path, change):
    document = json.loads((study / "study.json").read_text()) | change
    (tmp_path / "study.json").write_text(json.dumps(document))
    for arguments in (["report", str(tmp_path)], ["study", "status", str(tmp_path)]):
        assert main(arguments) == 2


class MadeUp:
    """A run whose metrics are known."""

    def __init__(self, seed, values):
        self.config = {"seed": seed}
        self.values = values

    def metrics(self, kind):
        return [{"step": t, "m": v} for t, v in enumerate(self.values, 1)]


def test_curves_by_hand():
    found = curve([MadeUp(3, [0, 1, 1, 1, 1, 1, 0]), MadeUp(4, [1, None, 1])], "m")
    assert found.seeds == (3, 4)
    np.testing.assert_allclose(found.lines_S_T[0], [0, 1 / 2, 2 / 3, 3 / 4, 4 / 5, 5 / 5, 4 / 5])
    # a step without a value is left out of the window; after its last step a run has no value
    np.testing.assert_allclose(found.lines_S_T[1], [1, 1, 1, *[np.nan] * 4])
    np.testing.assert_allclose(found.mean_T, [0.5, 0.75, 5 / 6, *[np.nan] * 4])


def test_a_verdict_stands_first_with_its_contrasts_and_its_ladder(study, whole, tmp_path, capsys):
    judged = whole.write()
    assert main(["verdict", str(judged), "--reward", "ground_truth", "--fresh", "fresh",
                 "--json"]) == 0  # fmt: skip
    (entry,) = json.loads(capsys.readouterr().out)["verdicts"]
    folder = tmp_path / "copy"  # of a study whose runs have all that a page shows
    shutil.copytree(study, folder)
    shutil.copy(judged / "verdict.json", folder / "verdict.json")
    text = write_report(folder).read_text(encoding="utf-8")
    Page(text)
    assert text.index("The verdict") < text.index("What each reward gained")
    assert str(escape(entry["because"])) in text
    assert 'class="verdict">genuine<' in text
    found = [("base", "given", entry["gain"]), ("base", "fresh", entry["gain_fresh"])]
    found += [(c["control"], c["benchmark"], c) for c in entry["controls"]]
    for over, benchmark, one in found:
        low, high = one["interval90"]
        told = f"over {over}, {benchmark}: {one['value']:+.1f} ({low:+.1f} to {high:+.1f})"
        assert f"<title>{escape(told)}</title>" in text
    for rung in entry["ladder"]["steps"]:
        assert f">{rung['accuracy']:.1f}" in text
    (folder / "verdict.json").write_text("{")
    with pytest.raises(PlaceboError, match=r"verdict\.json"):
        write_report(folder)
