"""GRPO's loss and gradient beside TRL's, on the same model, tokens and advantages."""

import warnings

import pytest
import torch

from conftest import ARCHITECTURES, random_model, sampled_groups
from rlvr_placebo.learner.batch import make_batch
from rlvr_placebo.learner.losses import LossConfig, TokenBatch, denominator, policy_loss
from rlvr_placebo.model.checkpoint import load_model, save
from rlvr_placebo.model.logprobs import completion_logprobs

MAX_TOKENS = 40


def trl_trainer(folder, out, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own imports and set-up
        trl = pytest.importorskip("trl", reason="the extra `trl` is not installed")
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, AutoTokenizer

        config = trl.GRPOConfig(
            output_dir=str(out), report_to=[], use_cpu=True, bf16=False, num_generations=2,
            per_device_train_batch_size=4, max_completion_length=MAX_TOKENS,
            gradient_checkpointing=False, **settings,
        )  # fmt: skip
        trainer = trl.GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=config,
            train_dataset=Dataset.from_dict({"prompt": ["x"] * 8}),
            processing_class=AutoTokenizer.from_pretrained(folder),
        )
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def trl_loss(trainer, batch):
    """TRL's loss of a batch: prompts are padded on the left there."""
    rows = batch.rows
    widest = int(rows.prompts_P.max())
    prompt_ids = torch.zeros(len(batch), widest, dtype=torch.long)
    prompt_mask = torch.zeros_like(prompt_ids)
    for b, prompt in enumerate(rows.prompt_B):
        length = rows.prompts_P[prompt]
        prompt_ids[b, widest - length :] = rows.prompts_PT[prompt, :length]
        prompt_mask[b, widest - length :] = 1
    return trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": rows.completions_BC,
            "completion_mask": batch.mask_BC.long(),
            "advantages": batch.advantages_B,
            "old_per_token_logps": batch.rollout_logprobs_BC,
            "num_items_in_batch": batch.mask_BC.sum(),
        },
    )


@pytest.mark.parametrize(
    ("loss_type", "aggregation", "advantage"),
    [("grpo", "sequence_mean", "group_std"), ("dr_grpo", "constant", "group_mean")],
)
def test_loss_and_gradient_equal_trls(shipped, tmp_path, loss_type, aggregation, advantage):
    sampler = random_model(ARCHITECTURES["qwen2"], 0)
    batch = make_batch(sampled_groups(shipped, sampler), advantage)
    # Another model than the one that sampled, so that ratios leave 1 and both clips bind.
    save(sampler, shipped.tokenizer, tmp_path / "m")
    model = load_model(tmp_path / "m")
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.01)
    save(model, shipped.tokenizer, tmp_path / "moved")
    trainer = trl_trainer(
        tmp_path / "moved", tmp_path / "out", loss_type=loss_type, epsilon=0.1, epsilon_high=0.15,
        beta=0.0, temperature=1.0,
    )  # fmt: skip
    theirs = trl_loss(trainer, batch)
    theirs.backward()

    config = LossConfig(advantage, aggregation, "token", 0.1, 0.15)
    tokens = TokenBatch(batch.rollout_logprobs_BC, batch.advantages_B, batch.mask_BC)
    logprobs_BC = completion_logprobs(model, batch.rows, 1.0)
    divisor = denominator(batch.mask_BC, aggregation, MAX_TOKENS)
    ours, sums = policy_loss(logprobs_BC, tokens, divisor, config)
    ours.backward()

    assert sums["high_bound"] > 0
    assert sums["low_bound"] > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    named = dict(trainer.model.named_parameters())
    whole = torch.cat([p.grad.flatten() for p in model.parameters()])
    other = torch.cat([named[n].grad.flatten() for n, _ in model.named_parameters()])
    assert whole.norm() > 0
    assert (whole - other).norm() / whole.norm() < 1e-4
