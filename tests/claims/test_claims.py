"""Claims: their rules by hand, what they read, their studies, and one carried out whole."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from rlvr_placebo.analysis.contrasts import Outcomes
from rlvr_placebo.claims import carry
from rlvr_placebo.claims.carry import _arm, _builds, choose, plan_of, run_claims, study_file
from rlvr_placebo.claims.claim import Arm, Claim, Effect, Finding, Reading, Rule, Span
from rlvr_placebo.claims.correlation import correlations
from rlvr_placebo.claims.decide import conclude, decide
from rlvr_placebo.claims.readings import outcomes_of
from rlvr_placebo.claims.registry import CLAIMS, SIGNATURES
from rlvr_placebo.cli.main import main
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import write_json, write_table
from rlvr_placebo.core.rundir import SCHEMA, RunDirectory
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.published import PAPER_MODELS, parameters
from rlvr_placebo.study.gpu import reckon
from rlvr_placebo.study.local import Launch
from rlvr_placebo.study.matrix import load_study
from rlvr_placebo.train.settings import make_config
from rlvr_placebo.train.watch import Silent

ARM, OTHER = (Arm("pocket/code-prior", reward) for reward in ("format", "python"))
STUDIES = sorted(study_file("labels").parent.glob("*.toml"))


def seeds(mean, sd=0.002, count=5, problems=400):
    rng = np.random.default_rng(0)
    by_seed = mean + sd * np.linspace(-1, 1, count)
    share = by_seed[:, None] + rng.normal(0, 0.05, problems)
    share += mean - share.mean()
    return Outcomes(share, tuple(map(str, range(problems))), 8)


@pytest.mark.parametrize(
    ("rule", "mean", "sd", "finding"),
    [
        (Rule.RISES, 0.08, 0.002, Finding.SHOWN),
        (Rule.RISES, 0.08, 0.08, Finding.UNDECIDED),
        (Rule.RISES, 0.02, 0.002, Finding.NOT_SEEN),  # surely above 0, and surely below δ
        (Rule.RISES, -0.08, 0.002, Finding.NOT_SEEN),
        (Rule.FALLS, -0.08, 0.002, Finding.SHOWN),
        (Rule.FALLS, -0.02, 0.002, Finding.NOT_SEEN),
        (Rule.FALLS, -0.08, 0.08, Finding.UNDECIDED),
        (Rule.NO_RISE, 0.0, 0.002, Finding.SHOWN),
        (Rule.NO_RISE, -0.2, 0.002, Finding.SHOWN),
        (Rule.NO_RISE, 0.08, 0.002, Finding.NOT_SEEN),
        (Rule.NO_RISE, 0.02, 0.05, Finding.UNDECIDED),
        (Rule.STAYS, 0.0, 0.002, Finding.SHOWN),
        (Rule.STAYS, 0.08, 0.002, Finding.NOT_SEEN),
        (Rule.STAYS, -0.08, 0.002, Finding.NOT_SEEN),
        (Rule.STAYS, 0.0, 0.05, Finding.UNDECIDED),
    ],
)
def test_every_rule_has_three_findings(rule, mean, sd, finding):
    claim = Claim("x", "X.", "ours", "labels", (Effect("e", ((1.0, ARM, Reading()),), rule),))
    found = decide(claim, lambda arm, reading: seeds(mean, sd))
    assert found["finding"] == finding
    assert found["effects"][0]["value"] == pytest.approx(100 * mean)
    assert found["detectable"] > 0


def test_a_claim_is_shown_where_every_effect_is():
    shown, unseen, open_ = Finding.SHOWN, Finding.NOT_SEEN, Finding.UNDECIDED
    assert conclude([shown, shown]) is shown
    assert conclude([shown, open_]) is open_
    assert conclude([shown, open_, unseen]) is unseen


def test_untrained_models_have_no_seeds_to_rearrange():
    """The bound alone decides."""
    rng = np.random.default_rng(0)
    names = tuple(map(str, range(300)))
    own = Outcomes(0.1 + rng.normal(0, 0.1, (1, 300)), names, 8, trained=False)
    effect = Effect("e", ((1.0, ARM, Reading(untrained=True)),))
    found = decide(Claim("x", "X.", "ours", "labels", (effect,)), lambda arm, reading: own)
    assert found["finding"] == Finding.SHOWN
    assert found["effects"][0]["permutation_above"] is None


def run_with(path, *evaluations):
    """A run directory with such evaluations: per problem the marks (correct, code) of samples."""
    directory = RunDirectory(path)
    (directory.path / "evaluations").mkdir(parents=True)
    for step, marks in enumerate(evaluations):
        rows = [
            {"benchmark": "pocket-500", "temperature": 1.0, "problem_id": id, "cluster": id,
             "sample": n, "correct": correct, "code": code}
            for id, own in marks.items() for n, (correct, code) in enumerate(own)
        ]  # fmt: skip
        write_table(
            directory.path / f"evaluations/step-{step:06d}.parquet", pa.Table.from_pylist(rows)
        )
        directory.append("metrics.jsonl", {"kind": "evaluation", "step": step})
    contracts = [{"benchmark": "pocket-500"}]
    config = {"steps": len(evaluations) - 1, "model": "m", "contracts": contracts}
    write_json(directory.path / "config.json", {"schema": SCHEMA, "config": config})
    return directory


Y, N = True, False


def read(runs, reading):
    return outcomes_of(runs, reading, lambda run, reading: run).share_S_P


def test_changes_by_hand(tmp_path):
    run = run_with(
        tmp_path / "run",
        {"a": [(Y, N), (N, N)], "b": [(N, Y), (N, Y)]},
        {"b": [(Y, Y), (Y, N)], "a": [(Y, N), (None, Y)]},
    )
    assert read([run], Reading()).tolist() == [[0.5, 1.0]]  # what nobody could judge is left out
    assert read([run], Reading(change=False)).tolist() == [[1.0, 1.0]]
    assert read([run, run], Reading(untrained=True)).tolist() == [[0.5, 0.0]]
    assert read([run], Reading("code")).tolist() == [[0.5, -0.5]]
    # under another prompt (here: what it was before training) less under its own
    assert read([run], Reading(template="boxed")).tolist() == [[-0.5, -1.0]]
    with pytest.raises(PlaceboError, match="pocket-new at T = 1 was not evaluated"):
        read([run], Reading(benchmark="pocket-new"))


def test_most_of_a_gain_is_more_than_half(tmp_path):
    """Words to code: one right answer of two problems; code to code: another one."""
    run = run_with(
        tmp_path / "run",
        {"a": [(N, N)], "b": [(N, Y)], "c": [(N, N)], "d": [(Y, Y)]},
        {"a": [(Y, Y)], "b": [(Y, Y)], "c": [(Y, Y)], "d": [(Y, N)]},
    )
    switched, stayed = (read([run], Reading(cell)) for cell in ("language_code", "code_code"))
    assert switched.tolist() == [[0.5, -0.5, 0.5, 0.0]]
    assert stayed.tolist() == [[-0.5, 0.5, -0.5, 0.0]]
    assert switched.sum() == pytest.approx(2 - 3 / 2)


def test_code_and_accuracy_over_runs(tmp_path):
    """Six arms of two runs, in each of which as many answers became code as became right."""
    before = {id: [(N, N)] for id in "abcdef"}
    arms = {}
    for number in range(6):
        after = {id: [(place < number,) * 2] for place, id in enumerate("abcdef")}
        runs = [run_with(tmp_path / f"{number}{i}", before, after) for i in range(2)]
        arms[Arm("m", f"reward {number}")] = runs
    (found,) = correlations(arms)
    assert (found["n"], found["arms"], found["model"]) == (12, 6, "m")
    assert found["r"] == pytest.approx(1)
    assert found["interval"] == pytest.approx([1, 1])
    assert correlations(dict(list(arms.items())[:5])) == []  # too few arms
    assert correlations({replace(arm, variant="boxed"): runs for arm, runs in arms.items()}) == []
    still = [run_with(tmp_path / f"s{n}", before, {**before, "a": [(n > 2, N)]}) for n in range(6)]
    assert correlations({Arm("m", str(n)): [run] for n, run in enumerate(still)}) == []


def test_a_peak_is_chosen_by_other_seeds_and_problems(tmp_path):
    names = [str(i) for i in range(40)]
    low, high = ({id: [(mark, N)] for id in names} for mark in (N, Y))
    early, late = (
        [run_with(tmp_path / f"{name}{i}", *marks) for i in range(2)]
        for name, marks in (("early", (low, high, low)), ("late", (low, low, high)))
    )
    since, to = (Reading(span=span) for span in (Span.SINCE_PEAK, Span.TO_PEAK))
    share = read(early, since)
    assert Counter(np.nan_to_num(share, nan=7.0)[0]) == {7.0: 20, -1.0: 20}
    assert Counter(np.nan_to_num(read(early, to), nan=7.0)[0]) == {7.0: 20, 1.0: 20}
    assert np.nansum(read(late, since)) == 0.0
    # one of each: the peak of the one is where the other has its own
    assert np.nanmean(read([early[0], late[0]], since), axis=1).tolist() == [0.0, 1.0]


def test_what_comes_late(tmp_path):
    """Of two problems one is learnt in the first half and one in the second; a third is lost."""
    before, middle, after = (
        {"a": [(a, N)], "b": [(b, N)], "c": [(c, N)]}
        for a, b, c in ((N, N, Y), (Y, N, Y), (Y, Y, N))
    )
    run = run_with(tmp_path / "run", before, middle, after)
    assert read([run], Reading(span=Span.LATE)).tolist() == [[0.0, 1.0, -1.0]]


def test_a_reward_that_never_varies_tests_nothing():
    effects = (Effect("one", ((1.0, ARM, Reading()),)), Effect("two", ((1.0, OTHER, Reading()),)))
    claim = Claim("x", "X.", "ours", "labels", effects)

    def finding(mean, flat, claim=claim):
        return decide(claim, lambda arm, reading: seeds(mean), flat)["finding"]

    assert finding(0.08, lambda arm: 0.99) == Finding.SHOWN
    assert finding(0.08, lambda arm: 1.0 if arm == OTHER else 0.5) == Finding.UNTESTED
    meant = tuple(replace(effect, idle=True, rule=Rule.STAYS) for effect in effects)
    assert finding(0.0, lambda arm: 1.0, replace(claim, effects=meant)) == Finding.SHOWN
    assert conclude([Finding.UNTESTED, Finding.NOT_SEEN]) is Finding.NOT_SEEN


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_study_of_a_claim_has_its_arms(claim):
    arms = Counter(_arm(config) for config in load_study(study_file(claim.study)).runs.values())
    for effect in claim.effects:
        for _, arm, _reading in effect.terms:
            assert arms[arm] >= 5, f"{arm} in {claim.study}"


def test_ids_are_unique_and_signatures_are_claims():
    assert len(CLAIMS) == len({claim.says for claim in CLAIMS.values()})
    assert set(SIGNATURES) <= set(CLAIMS)
    assert {claim.study for claim in CLAIMS.values()} | {"clipping"} == {p.stem for p in STUDIES}


def test_studies_share_their_settings_so_that_runs_are_shared():
    own = [load_study(path).runs for path in STUDIES if path.stem != "clipping"]
    names = Counter(name for runs in own for name in runs)
    assert sum(names.values()) - len(names) >= 15  # ground truth, random and python at least
    for config in (config for runs in own for config in runs.values()):
        assert config.pool in ("pocket-train@400", "benchmark")
        assert (config.labels.samples, config.evaluation.samples) == (16, 4)


def test_a_claim_carried_out(tmp_path, monkeypatch):
    """A study of our own, stopped by the clock, continued, and run under another prompt."""
    study = tmp_path / "own.toml"
    study.write_text(
        'models = ["pocket/code-prior"]\nrewards = ["format"]\nseeds = [1, 2]\n[settings]\n'
        "steps = 1\nrollout.problems = 2\nrollout.samples = 4\nevaluation.max_tokens = 40\n"
        'evaluation.benchmarks = ["pocket-fresh@3"]\n'
    )
    one = Effect("e", ((1.0, ARM, Reading(benchmark="pocket-fresh@3")),), Rule.STAYS)
    forced = Reading(benchmark="pocket-fresh@3", template="forced_code")
    two = Effect("forced", ((1.0, ARM, forced),))
    claims = [Claim("own", "Own.", "ours", str(study), (one,)),
              Claim("forced", "Forced.", "ours", str(study), (two,))]  # fmt: skip
    out = tmp_path / "out"
    stopped = run_claims(claims, Launch(out, seconds=0.0, pause=0.05), Silent())
    assert (stopped["claims"], stopped["waiting"]) == ([], ["own", "forced"])
    found = run_claims(claims, Launch(out, pause=0.05), Silent())
    assert [entry["id"] for entry in found["claims"]] == ["own", "forced"]
    assert found["waiting"] == []
    assert json.loads((out / "claims.json").read_text()) == found
    assert len(list((out / "prompted").glob("forced_code-*/*/result.json"))) == 2
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    assert run_claims(claims, Launch(out, pause=0.05), Silent()) == found
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("*.parquet")}
    # a part asked for again leaves the rest, as long as its rules are the same
    monkeypatch.setattr(carry, "CLAIMS", {claim.id: claim for claim in claims})
    part = run_claims(claims[1:], Launch(out, pause=0.05), Silent())
    assert part["claims"] == found["claims"]
    other = replace(claims[0], effects=(replace(one, margin=1.0),))
    monkeypatch.setattr(carry, "CLAIMS", {"own": other, "forced": claims[1]})
    part = run_claims(claims[1:], Launch(out, pause=0.05), Silent())
    assert [entry["id"] for entry in part["claims"]] == ["forced"]
    damaged = next((out / "prompted").rglob("metrics.jsonl"))
    damaged.write_text(damaged.read_text() + "{}\n")
    with pytest.raises(PlaceboError, match="damaged"):
        run_claims(claims, Launch(out, pause=0.05), Silent())


def test_what_cannot_be_estimated_says_so_and_hides_nothing(tmp_path):
    study = tmp_path / "own.toml"
    study.write_text(
        'models = ["pocket/code-prior"]\nrewards = ["format", "python"]\nseeds = [1]\n'
        "[settings]\nsteps = 1\nrollout.problems = 2\nrollout.samples = 4\n"
        "evaluation.max_tokens = 20\nevaluation.samples = 1\n"
        'evaluation.benchmarks = ["pocket-fresh@3"]\n'
    )
    reading = Reading(benchmark="pocket-fresh@3")
    still = replace(reading, untrained=True)
    claims = [
        Claim("one", "One.", "ours", str(study), (Effect("e", ((1.0, ARM, reading),)),)),
        Claim("two", "Two.", "ours", str(study), (Effect("e", ((1.0, OTHER, still),)),)),
    ]
    found = run_claims(claims, Launch(tmp_path / "out", pause=0.05), Silent())
    one, two = found["claims"]
    assert "cannot be estimated (format on code-prior: one seed shows no spread)" in one["finding"]
    assert one["effects"] == []
    assert len(two["effects"]) == 1


def test_a_folder_is_taken_before_models_are_built(tmp_path, monkeypatch):
    """Builds take long and write into the folder."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    monkeypatch.setattr(carry, "_unbuilt", lambda model: "dose" in model)
    built = []

    def build(jobs, workers, what, watch, seconds=None):
        if jobs:
            assert (tmp_path / "new" / "study.json").exists()
            built.extend(jobs)
            monkeypatch.setattr(carry, "_unbuilt", lambda model: False)
            monkeypatch.setattr(carry, "run_claimed", lambda study, launch, report: [])

    monkeypatch.setattr(carry, "carry_out", build)
    with pytest.raises(PlaceboError, match="not by a study"):
        run_claims(choose(("dose",), quick=False), Launch(tmp_path / "mine"), Silent())
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert built == []
    found = run_claims(choose(("dose",), quick=False), Launch(tmp_path / "new"), Silent())
    assert len(built) == 2
    assert found["waiting"] == ["dose"]


def test_models_trained_before_come_second(tmp_path):
    """Arms of ``trained/code-prior`` wait for the run that makes it."""
    claims = choose(("trained",), quick=False)
    plan = plan_of(claims, tmp_path)
    (name,) = plan.arms
    assert plan.study.runs[name].seed == 1
    run = RunDirectory(tmp_path / "runs" / name)
    run.path.mkdir(parents=True)
    run.finish({"final_checkpoint": "checkpoints/checkpoint-40", "steps": 40})
    plan = plan_of(claims, tmp_path)
    assert len(plan.arms) == 1 + 3 * 5
    later = {c.model for n, c in plan.study.runs.items() if n != name}
    assert later == {str(run.path / "checkpoints/checkpoint-40")}
    assert set(plan.arms.values()) == {
        Arm("pocket/code-prior", "ground_truth"),
        *(arm for effect in claims[0].effects for _, arm, _ in effect.terms),
    }


def test_varieties_are_built_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PLACEBO_CACHE", str(tmp_path / "cache"))
    claims = choose(("dose",), quick=False)
    assert plan_of(claims, tmp_path).arms == {}
    jobs = _builds(claims, tmp_path)
    assert {job.arguments["model"] for job in jobs.values()} == {
        "pocket/code-prior-dose0.2", "pocket/code-prior-dose0.8"
    }  # fmt: skip
    assert _builds(choose(("prior",), quick=False), tmp_path) == {}


def test_the_list(capsys):
    assert main(["claims"]) == 0
    said = capsys.readouterr().out
    assert all(id in said for id in ("true-labels", "switching"))
    assert main(["claims", "gamma"]) == 0
    assert "random(0.7) on code-prior" in capsys.readouterr().out
    assert main(["claims", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == len(CLAIMS)
    assert main(["claims", "gama"]) == 2
    assert "did you mean 'gamma'" in capsys.readouterr().err
    assert main(["claims", "run", "--minutes", "0"]) == 2
    assert "--minutes" in capsys.readouterr().err


def test_the_first_look_is_a_part_of_all():
    quick = choose((), quick=True)
    assert 0 < len(quick) < len(choose((), quick=False))
    assert [claim.id for claim in choose(("gamma",), quick=True)] == ["gamma"]


PAPER = sorted(study_file("labels", "paper").parent.glob("*.toml"))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_studies_at_the_scale_of_the_paper_plan_without_their_models(path, capsys):
    study = load_study(path)
    assert study.description.endswith("?")
    assert {config.model for config in study.runs.values()} <= set(PAPER_MODELS)
    for config in study.runs.values():  # the paper's prompt of each model
        changed = config.variant in ("boxed", "nonsense")
        assert changed or config.template == PAPER_MODELS[config.model].template
    assert main(["study", "plan", str(path), "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert sum(line["runs"] for line in lines) == len(study.runs)
    assert all(line["gpu"]["hours"] > 0 and line["gpu"]["tokens"] > 1e6 for line in lines)


def test_every_claim_of_the_article_has_a_study_at_its_scale():
    assert {p.stem for p in STUDIES} - {p.stem for p in PAPER} <= {"crossed", "doses"}


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_published_shapes_have_the_published_number_of_parameters(name):
    published = {"Math-7B": 7_615_616_512, "Math-1.5B": 1_543_714_304, "Qwen2.5-7B": 7_615_616_512,
                 "Qwen2.5-1.5B": 1_543_714_304, "OLMo-2": 7_298_617_344,
                 "Llama-3.1-8B": 8_030_261_248, "Llama-3.2-3B": 3_212_749_824}  # fmt: skip
    (wanted,) = [count for part, count in published.items() if part in name]
    shape = PAPER_MODELS[name].shape
    assert parameters(shape) == wanted
    with torch.device("meta"):
        assert sum(p.numel() for p in Decoder(shape).parameters()) == wanted


def test_a_gpu_plan_by_hand():
    """Qwen2.5-1.5B, one step of 64 × 16, no evaluation but two of a benchmark of 500, greedy."""
    settings = {"steps": 1, "evaluation.temperatures": [0.0], "benchmarks": ["math-500"],
                "pool": "deepscaler", "labels.samples": 64}  # fmt: skip
    config = make_config("Qwen/Qwen2.5-1.5B", "ground_truth", "paper", settings)
    found = reckon(config, 2)
    written = 64 * 16 * 800 + 2 * 500 * 800
    assert found.tokens == written
    count, kept = 1_543_714_304, 2 * 28 * 2 * 128 * 2  # bytes of keys and values per token
    decoding = (2 * count + 256 * 550 * kept) / (3.35e12 * 0.6) / 256 * written
    update = (6 * 64 * 16 * 800 + 2 * 150 * 2024 / 16) * count / (989e12 * 0.45)
    assert found.hours == pytest.approx((decoding + update) / 3600, rel=1e-6)
    # float32 weights, gradients and moments, bf16 copies, 256 rows of 1,024 + 3,072 tokens
    generation = 256 * 4096 * kept + 6 * 256 * 151936 * 4
    assert found.memory == pytest.approx(18 * count + generation + 0.63e9, rel=0.01)
    assert found.devices == 1
    assert reckon(config, 2, runs=5).hours == pytest.approx(5 * found.hours)
    voted = reckon(config, 2, labels=True)
    assert voted.tokens == written + 64 * 40315 * 800
    assert voted.hours > found.hours + 64 * 40315 * 800 * decoding / written / 3600
    assert reckon(make_config("pocket/code-prior", "format"), 2) is None


def test_more_rows_are_bounded_by_arithmetic():
    """Qwen2.5-7B with 1,024 rows at once multiplies longer than it reads."""
    settings = {"rollout.max_rows": 1024, "evaluation.temperatures": [0.0], "steps": 1}
    config = make_config("Qwen/Qwen2.5-7B", "ground_truth", "paper", settings)
    found, count = reckon(config, 0), 7_615_616_512
    assert found.hours * 3600 > (2 + 6) * count * 64 * 16 * 800 / (989e12 * 0.45)
    assert found.memory > 18 * count
    assert found.devices > 1
