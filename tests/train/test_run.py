"""What a run records: rewards that can be scored again, parity at every step, warnings."""

import copy
import json

import pyarrow.parquet as pq
import pytest
import torch

from rlvr_placebo.analysis.folder import laps_of
from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import read_jsonl
from rlvr_placebo.core.rundir import RunDirectory
from rlvr_placebo.core.seeds import generator_for
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.rewards.registry import REWARDS
from rlvr_placebo.rewards.spec import (
    build,
    canonical,
    describe,
    implied,
    names_in,
    needs_votes,
    parse,
)
from rlvr_placebo.train.loop import run
from rlvr_placebo.train.preflight import window_warning
from rlvr_placebo.train.rollouts import from_table, to_table
from rlvr_placebo.train.settings import make_config, parse_settings
from rlvr_placebo.train.trial import environment, moved, prepare

SMALL = ["problems=4", "rollout.samples=4", "evaluation.samples=1", "evaluation.temperatures=1",
         "evaluation.max_tokens=8", "pool=pocket-train@64"]  # fmt: skip


class Listener:
    """Remembers what a run said."""

    def __init__(self):
        self.warnings, self.steps, self.summaries, self.said = [], [], [], []

    def say(self, line):
        self.said.append(line)

    def progress(self, what, done, total):
        if what == "step":
            self.steps.append((done, total))

    def metrics(self, record, seconds):
        pass

    def evaluated(self, step, summary):
        self.summaries.append((step, summary))

    def warn(self, line):
        self.warnings.append(line)


def short(reward="ground_truth", *settings, model="pocket/code-prior"):
    chosen = parse_settings(SMALL) | parse_settings(settings)
    return make_config(model, parse(reward), "pocket", chosen)


EVERY_REWARD = (
    "ground_truth", "majority_vote", "incorrect(2)", "vote(2)", "minority_vote", "permuted_gold",
    "one_shot", "ttrl", "format", "python", "no_python", "no_repetition", "self_certainty",
    "low_entropy", "marker", "random(0.5)", "constant(0.3)", "shuffle(random(0.3))", "not(format)",
    "noise(incorrect,0.2,0.3)", "all(ground_truth,no_python)",
    {"weighted_sum": [[1, "format"], [0.5, "random"]]},
)  # fmt: skip


@pytest.mark.parametrize("reward", EVERY_REWARD, ids=describe)
def test_rescoring_stored_rollouts_gives_the_stored_rewards(tmp_path, reward):
    own = implied(reward if isinstance(reward, dict) else parse(reward))
    settings = parse_settings(s for s in SMALL if s.partition("=")[0] not in own)
    needed = needs_votes(canonical_of(reward))
    settings |= {
        "steps": 2,
        "seed": 5,
        "labels.samples": 8 * bool(needed),
        "labels.wrong_answers": max(1, needed),
    }
    config = make_config("pocket/code-prior", canonical_of(reward), "pocket", settings)
    run(config, tmp_path / "r")
    scorer = build(config.reward)
    for step in (1, 2):
        groups = from_table(pq.read_table(tmp_path / f"r/rollouts/step-{step:06d}.parquet"))
        assert len(groups) == 4
        for group in groups:
            first = group.rollouts[0].sample
            rng = generator_for(5, step, group.problem.id, first, "reward")
            assert scorer(group, rng) == [r.score for r in group.rollouts]


def test_a_users_reward_is_rescored_with_all_that_it_reads(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "def ours(group, rng):\n"
        "    weight = group.problem.difficulty + group.problem.extra['grade']\n"
        "    return [weight * len(r.completion.text) * rng.random() for r in group.rollouts]\n"
        "def trl(prompts, completions, grade, difficulty, log_metric, **kwargs):\n"
        "    log_metric('x', 1)\n"
        "    return [g + d for g, d in zip(grade, difficulty)]\n"
    )
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(
        json.dumps({"problem": f"{i} pens and {i} more", "answer": 2 * i, "difficulty": i,
                    "grade": i % 3}) + "\n"
        for i in range(1, 9)
    ))  # fmt: skip
    for name in ("ours", "trl"):
        config = short(f"{mine}:{name}", "steps=1", f"pool={pool}")
        run(config, tmp_path / name)
        stored = from_table(pq.read_table(tmp_path / f"{name}/rollouts/step-000001.parquet"))
        for group in stored:
            rng = generator_for(0, 1, group.problem.id, 0, "reward")
            assert build(config.reward)(group, rng) == [r.score for r in group.rollouts]
        assert len({r.score.reward for g in stored for r in g.rollouts}) > 3


def test_columns_a_pool_does_not_have_are_missed_before_anything_is_sampled(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def f(prompts, completions, grade):\n    return [1.0] * len(completions)\n")
    with pytest.raises(PlaceboError, match="asks for grade, which pocket-train@64 does not have"):
        run(short(f"{mine}:f"), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_torn_timing_is_mended(tmp_path):
    out = run(short("random", "steps=2"), tmp_path / "r")
    text = (out.path / "timings.jsonl").read_text()
    (out.path / "timings.jsonl").write_text(text[:-20])
    (out.path / "result.json").unlink()
    run(short("random", "steps=2"), tmp_path / "r", resume=True)
    assert len(read_jsonl(out.path / "timings.jsonl")) >= 3
    assert all(lap.total > 0 for lap in laps_of(out))
    assert laps_of(out)


def canonical_of(reward):
    return canonical(reward) if isinstance(reward, dict) else parse(reward)


def test_no_reward_was_forgotten():
    assert set().union(*(names_in(canonical_of(r)) for r in EVERY_REWARD)) == set(REWARDS)


def test_rollouts_survive_the_disk(tmp_path):
    run(short("ground_truth", "steps=1"), tmp_path / "r")
    table = pq.read_table(tmp_path / "r/rollouts/step-000001.parquet")
    groups = from_table(table)
    assert to_table(groups, 1, table["advantage"].to_pylist()).equals(table)


def test_rollouts_of_the_schema_before_can_be_read(tmp_path):
    run(short("ground_truth", "steps=1"), tmp_path / "r")
    table = pq.read_table(tmp_path / "r/rollouts/step-000001.parquet")
    old = table.drop_columns(["votes", "permuted_gold", "difficulty", "extra", "certainties"])
    (first, *_), (again, *_) = from_table(table), from_table(old)
    assert (again.problem.votes, again.problem.permuted_gold) == ((), None)
    assert again.rollouts[0].completion.text == first.rollouts[0].completion.text
    assert again.rollouts[0].score == first.rollouts[0].score


def test_arms_share_problems_and_sampling_seeds(tmp_path):
    for reward in ("ground_truth", "random(0.5)"):
        run(short(reward, "steps=2", "seed=1"), tmp_path / reward)
    one, two = (
        [pq.read_table(tmp_path / f"{r}/rollouts/step-{s:06d}.parquet") for s in (1, 2)]
        for r in ("ground_truth", "random(0.5)")
    )
    for a, b in zip(one, two, strict=True):
        assert a["problem_id"].equals(b["problem_id"])
        assert a["seed"].equals(b["seed"])
    assert one[0]["text"].equals(two[0]["text"])  # the first rollout precedes any update
    assert not one[0]["reward"].equals(two[0]["reward"])


def mismatches(out):
    return [r["mismatch/max_logprob_difference"] for r in out.metrics("step")]


def test_rollout_and_learner_agree_for_twenty_steps(tmp_path):
    out = run(
        short("ground_truth", "steps=20", "learning_rate=1e-3", "minibatches=1"), tmp_path / "r"
    )
    assert len(mismatches(out)) == 20
    assert max(mismatches(out)) < 1e-4
    assert max(r["first_update/max_ratio_deviation"] for r in out.metrics("step")) <= 1e-4


def test_a_planted_rotary_error_of_one_position_is_seen(tmp_path, monkeypatch):
    true_rotations = Decoder._rotations

    def shifted(model, positions):
        decoding = positions.shape[1] == 1  # one new token a row: generation only
        return true_rotations(model, positions + 1 if decoding else positions)

    monkeypatch.setattr(Decoder, "_rotations", shifted)
    out = run(short("ground_truth", "steps=2", "minibatches=1"), tmp_path / "r")
    assert max(mismatches(out)) > 1e-2


def test_a_constant_reward_changes_nothing_and_is_said_loudly(tmp_path):
    heard = Listener()
    out = run(short("constant(0.1)", "steps=11"), tmp_path / "r", watch=heard)
    from rlvr_placebo.model.checkpoint import load

    before, after = load("pocket/code-prior"), load(str(out.path / "checkpoints/checkpoint-11"))
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(tensor, after.model.state_dict()[name])
    assert any("constant reward: all 16 completions got 0.1" in w for w in heard.warnings)
    assert sum("no reward signal for 10 steps" in w for w in heard.warnings) == 1
    recorded = [w for r in out.metrics("step") for w in r["warnings"]]
    assert recorded == heard.warnings


def test_other_warnings(tmp_path):
    heard = Listener()
    run(short("ground_truth", "steps=1", "rollout.max_tokens=5", "minibatches=1"), tmp_path / "r",
        watch=heard)  # fmt: skip
    text = "\n".join(heard.warnings)
    assert "clipping cannot bind" in text
    assert "truncation: 100% of completions reach 5 tokens" in text
    assert "constant reward" in text
    quiet = Listener()
    settings = ("steps=1", "clip_low=off", "clip_high=off", "minibatches=1")
    run(short("random(0.5)", *settings), tmp_path / "q", watch=quiet)
    assert quiet.warnings == []


def test_window_warning_is_said_once():
    flat = [1.0] * 12
    assert [bool(window_warning(flat[:n])) for n in range(13)] == [n == 10 for n in range(13)]
    assert not window_warning([1.0] * 9 + [0.9])
    assert window_warning([0.5] + [1.0] * 10)


def test_progress_reaches_the_end(tmp_path):
    heard = Listener()
    run(short("format", "steps=2", "evaluation.every=1"), tmp_path / "r", watch=heard)
    assert heard.steps == [(1, 2), (2, 2)]
    assert [step for step, _ in heard.summaries] == [0, 1, 2]


def test_no_steps_is_an_evaluation(tmp_path):
    out = run(short("format", "steps=0"), tmp_path / "r")
    assert out.read_json("result.json")["final_checkpoint"] == "checkpoints/checkpoint-0"
    assert out.metrics("step") == []


def test_the_untrained_model_is_evaluated_once(tmp_path):
    runs = [
        run(short(r, "steps=1"), tmp_path / r, shared=tmp_path / "b")
        for r in ("format", "random(0.5)")
    ]
    assert len(list((tmp_path / "b").glob("*.parquet"))) == 1
    alone = run(short("format", "steps=1"), tmp_path / "alone")
    tables = [(r.path / "evaluations/step-000000.parquet").read_bytes() for r in [*runs, alone]]
    assert tables[0] == tables[1] == tables[2]


def test_a_trained_checkpoint_is_a_model(tmp_path):
    out = run(short("format", "steps=1"), tmp_path / "r")
    folder = out.path / out.read_json("result.json")["final_checkpoint"]
    again = run(short("format", "steps=1", model=str(folder)), tmp_path / "again")
    assert again.finished


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["rollout.max_tokens=2000"], "exceed the model's 2048 positions"),
        (["problems=65"], "fewer than the 65 of a step"),
        (["benchmarks=nothing"], "unknown benchmark 'nothing'"),
        (["pool=pocket-trian"], "unknown problem set"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(PlaceboError, match=message):
        run(short("format", *settings), tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_run_is_not_resumed_over_another_benchmark(tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text('{"problem": "1+1?", "answer": "2"}\n')
    config = short("format", "steps=1", f"benchmarks={few}")
    run(config, tmp_path / "r")
    few.write_text('{"problem": "1+2?", "answer": "3"}\n')
    with pytest.raises(PlaceboError, match="contracts differ"):
        run(config, tmp_path / "r", resume=True)


def test_a_problem_met_twice_in_a_step_gets_other_samples(tmp_path):
    from rlvr_placebo.train.collect import generate

    trial = prepare(short("format"))
    one, two = generate(trial, [trial.pool[0]] * 2, 1)
    assert [r.sample for r in two.rollouts] == [4, 5, 6, 7]
    assert [r.completion.text for r in one.rollouts] != [r.completion.text for r in two.rollouts]
    assert copy.copy(one.problem) == two.problem


def test_a_run_says_what_memory_it_needs_and_where_it_was_begun(tmp_path):
    heard = Listener()
    run(short("format", "steps=1"), tmp_path / "run", watch=heard)
    assert len(heard.said) == 1
    assert heard.said[0].startswith("memory: about 0.")
    assert heard.warnings == [w for w in heard.warnings if "goes on with" not in w]
    here = environment()
    place = RunDirectory(tmp_path / "run")
    assert moved(place, here) == []
    assert moved(place, {**here, "torch": "9.9"}) == [("torch", here["torch"], "9.9")]
    assert moved(RunDirectory(tmp_path / "nothing"), here) == []


def test_problems_with_long_prompts_are_left_out_and_counted():
    every = prepare(short("format"))
    lengths = sorted(len(every.prompts[p.id]) for p in every.pool)
    most = lengths[len(lengths) // 2]
    some = prepare(short("format", f"max_prompt={most}", "rollout.problems=2"))
    left = sum(n > most for n in lengths)
    assert len(some.pool) == len(every.pool) - left
    assert max(len(some.prompts[p.id]) for p in some.pool) <= most
    assert any(w.startswith(f"{left} problems of") for w in some.warnings)
    assert "max_prompt" not in every.document["rollout"]
    assert some.document["pool_digest"] != every.document["pool_digest"]
    with pytest.raises(PlaceboError, match="0 problems, fewer than"):
        prepare(short("format", "max_prompt=1", "rollout.problems=2"))


def test_narrow_numbers_and_clips_are_told_of():
    told = [prepare(short("format", "precision=bfloat16", *more)).warnings
            for more in ((), ("tis_cap=2",), ("clip_low=off", "clip_high=off"))]  # fmt: skip
    assert [any("moves ratios out" in w for w in own) for own in told] == [True, False, False]
