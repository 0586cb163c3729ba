import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.train.config import RECIPES, RunConfig
from rlvr_placebo.train.settings import from_dict, full_key, keys, make_config, parse_settings


def configured(*pairs, recipe="pocket"):
    return make_config("m", "format", recipe, parse_settings(pairs))


def test_the_papers_recipe_is_the_papers():
    c = make_config("m", "format", "paper")
    assert (c.rollout.max_prompt, c.precision) == (1024, "bfloat16")
    assert (c.rollout.problems, c.rollout.samples, c.rollout.max_tokens) == (64, 16, 3072)
    assert (c.optimizer.learning_rate, c.optimizer.beta1, c.optimizer.beta2) == (5e-7, 0.9, 0.95)
    # a minibatch of 128 of 1,024 sequences
    assert (c.optimizer.updates, c.loss.clip_low, c.loss.clip_high, c.loss.kl) == (8, 0.2, 0.2, 0)
    assert c.optimizer.max_grad_norm == 1.0
    assert c.optimizer.weight_decay == 0.0


def test_settings_are_read_by_type():
    c = configured("clip_high=off", "steps=3", "learning_rate=1e-4", "aggregation=token_mean",
                   "benchmarks=pocket-500,pocket-new", "temperatures=0,0.6")  # fmt: skip
    assert c.loss.clip_high is None
    assert c.optimizer.checkpointing is False
    assert configured("checkpointing=true").optimizer.checkpointing is True
    assert c.steps == 3
    assert c.optimizer.learning_rate == 1e-4
    assert c.loss.aggregation == "token_mean"
    assert c.evaluation.benchmarks == ("pocket-500", "pocket-new")
    assert c.evaluation.temperatures == (0.0, 0.6)


def test_later_settings_win_and_recipes_are_only_defaults():
    assert configured("steps=7").steps == 7
    assert configured().steps == RECIPES["pocket"]["steps"]


def test_keys_are_completed():
    assert full_key("clip_low") == full_key("loss.clip_low") == "loss.clip_low"
    with pytest.raises(PlaceboError, match="ambiguous"):
        full_key("max_tokens")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("steps", "write key=value"),
        ("stpes=3", "unknown setting 'stpes'; did you mean 'steps'"),
        ("loss.clip_hihg=1", "did you mean 'loss.clip_high'"),
        ("seed_=1", "did you mean 'seed'"),
        ("steps=three", "a whole number is wanted"),
        ("steps=-1", r"steps: -1 must lie in"),
        ("steps=1.5", "a whole number is wanted"),
        ("checkpointing=maybe", "true or false is wanted"),
        ("learning_rate=fast", "a number is wanted"),
        ("learning_rate=-1", "must lie in"),
        ("learning_rate=nan", "must lie in"),
        ("clip_low=2", "must lie in"),
        ("clip_high=nope", "a number or off is wanted"),
        ("rollout.samples=1", "must lie in"),
        ("rollout.temperature=0", "must lie in"),
        ("rollout.temperature=1e-45", "must lie in"),
        ("temperatures=nan", "must be 0"),
        ("temperatures=1,1.0", "named twice"),
        ("benchmarks=pocket-500,pocket-500", "named twice"),
        ("evaluation.samples=0", "at least 1"),
        ("advantage=grup_std", "did you mean 'group_std'"),
        ("optimizer.name=adam", "did you mean 'adamw'"),
        ("template=fancy", "unknown template"),
        ("minibatches=100000", "more than completions"),
        ("benchmarks=", "at least one benchmark"),
        ("seed=-3", "must lie in"),
        ("rollout.temperature=-1", "must lie in"),
    ],
)
def test_mistakes_are_one_line(pair, message):
    with pytest.raises(PlaceboError, match=message) as caught:
        configured(pair)
    assert "\n" not in str(caught.value)


def test_unknown_recipe():
    with pytest.raises(PlaceboError, match="unknown recipe 'papre'"):
        make_config("m", "format", "papre")


@given(
    st.sampled_from(["ground_truth", {"random": [0.5]}, {"shuffle": ["format"]}]),
    st.integers(0, 2**62),
    st.sampled_from([None, 0.1]),
    st.sampled_from(sorted(RECIPES)),
)
def test_a_configuration_survives_json(reward, seed, clip, recipe):
    config = make_config("m", reward, recipe, {"seed": seed, "loss.clip_low": clip})
    document = json.loads(json.dumps(config.as_dict()))
    assert from_dict(document) == config
    assert digest(document) == digest(config.as_dict())


def test_there_are_few_fields_and_each_is_explained():
    from rlvr_placebo.cli.tables import _meanings

    meanings = dict(_meanings(RunConfig, ""))
    assert set(keys()) | {"model", "reward"} == set(meanings)
    assert len(meanings) < 60
    assert all(len(m) > 10 for m in meanings.values())
