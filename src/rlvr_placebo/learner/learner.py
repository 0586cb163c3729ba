"""The learner: from a scored batch to optimizer steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.learner.batch import Batch
from rlvr_placebo.learner.losses import LossConfig, TokenBatch, denominator, policy_loss
from rlvr_placebo.model.decoder import Decoder
from rlvr_placebo.model.device import repeatable
from rlvr_placebo.model.logprobs import completion_logprobs


@dataclass(frozen=True)
class OptimizerConfig:
    """How the loss becomes updates. The defaults are the paper's."""

    name: str = "adamw"
    """``adamw`` or ``sgd`` (without momentum)."""
    learning_rate: float = 5e-7
    """Constant over the run."""
    beta1: float = 0.9
    """AdamW's decay of the mean gradient."""
    beta2: float = 0.95
    """AdamW's decay of the mean squared gradient."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    max_grad_norm: float = 1.0
    """The gradient of an update is scaled down to this norm; 0 leaves it as it is."""
    minibatches: int = 8
    """Updates per pass over a step's completions."""
    epochs: int = 1
    """Passes over a step's completions."""
    micro_tokens: int = 16384
    """Tokens per forward pass; changes memory and speed, not the gradient."""
    checkpointing: bool = False
    """Compute activations again for the gradient: far less memory, a third more time."""
    noise: bool = False
    """Put random numbers of the same norm in the place of every gradient: nothing is learnt."""

    @property
    def updates(self) -> int:
        """Optimizer steps per rollout batch."""
        return self.minibatches * self.epochs


OPTIMIZERS = ("adamw", "sgd")


class Learner:
    """Trains one decoder.

    Attributes:
        model: trained in place.
        trained: its parameters that are trained, by name.
        updates_done: optimizer steps since the start of the run.
    """

    def __init__(
        self,
        model: Decoder,
        loss: LossConfig,
        optimizer: OptimizerConfig,
        temperature: float,
        max_tokens: int,
    ) -> None:
        """Set up the optimizer, and a frozen copy of the model where a KL penalty needs one.

        Args:
            model: the policy, as it is before training.
            loss: the objective.
            optimizer: the updates.
            temperature: the one completions are sampled at.
            max_tokens: the longest completion sampling allows (Dr. GRPO divides by it).
        """
        self.model = model
        model.checkpointing = optimizer.checkpointing
        self.loss_config = loss
        self.config = optimizer
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.updates_done = 0
        self.reference = copy.deepcopy(model).requires_grad_(False) if loss.kl != 0 else None
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimizer = _make_optimizer(list(self.trained.values()), optimizer)

    def step(self, batch: Batch, rng: np.random.Generator) -> dict[str, float]:
        """Make all updates of one step.

        Args:
            batch: the step's completions with their advantages.
            rng: orders the groups into minibatches; draws what the configuration makes random.

        Returns:
            Metrics, named as TRL names them where it has them.

        Raises:
            PlaceboError: the gradient is not finite; the weights are those before the update.
        """
        with repeatable(self.model):
            metrics = self._step(batch, rng)
        for parameter in self.trained.values():  # their memory is the rollout's now
            parameter.grad = None
        return metrics

    def _step(self, batch: Batch, rng: np.random.Generator) -> dict[str, float]:
        share = self.loss_config.masked
        mask = rng.spawn(1)[0] if share else None
        totals = _Totals()
        noise = rng.spawn(1)[0] if self.config.noise else None
        if self.loss_config.tis_cap is not None:
            batch = replace(batch, proximal_BC=self._logprobs(batch))
        for _ in range(self.config.epochs):
            for minibatch in batch.minibatches(self.config.minibatches, rng):
                if mask:
                    minibatch = minibatch.left_out((share, share), mask)
                totals.add(self.update(minibatch, not totals.updates, noise))
        reachable = self.config.updates > 1
        return totals.metrics(self.loss_config, reachable, float(batch.mask_BC.sum()))

    def update(
        self, minibatch: Batch, measure: bool = True, noise: np.random.Generator | None = None
    ) -> dict[str, float]:
        """Make one optimizer step; the gradient is accumulated over micro-batches.

        Without a KL penalty, completions with advantage 0 have no gradient and are left out; the
        divisor counts them all the same. Where none is left, the step is that of a zero gradient;
        with ``measure`` all are scored even so, since a step's first update shows the mismatch
        between rollout and learner.
        """
        divisor = denominator(minibatch.mask_BC, self.loss_config.aggregation, self.max_tokens)
        sums: dict[str, float] = {"loss": 0.0, "scored": 0.0}
        for parameter in self.trained.values():
            parameter.grad = None
        flat = minibatch.advantages_B == 0 if self.reference is None else None
        teaches = flat is None or not bool(flat.all())
        if teaches or measure:
            counted = (
                minibatch.select((~flat).nonzero()[:, 0])
                if teaches and flat is not None
                else minibatch
            )
            for micro in counted.microbatches(self.config.micro_tokens):
                with torch.set_grad_enabled(teaches):
                    loss, found = self._loss(micro, divisor)
                if teaches:
                    loss.backward()
                _merge(sums, {"loss": loss.detach(), **found})
        for parameter in self.trained.values():  # an update without gradient is an update
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        sums["tokens"] = float(minibatch.mask_BC.sum())
        sums["grad_norm"] = self._clip_gradient()
        if noise is not None:
            self._randomise(noise)
        if not math.isfinite(sums["grad_norm"]):
            raise PlaceboError(
                f"update {self.updates_done + 1}: the gradient is not finite; "
                "lower optimizer.learning_rate"
            )
        self.optimizer.step()
        self.updates_done += 1
        return sums

    @torch.no_grad()
    def _logprobs(self, batch: Batch) -> Tensor:
        """Log-probabilities ``[B, C]`` of a batch as the model is now, where they have a gradient.

        Where they have none they are those of the rollout.
        """
        found_BC = batch.rollout_logprobs_BC.clone()
        teaching = torch.ones(len(batch), dtype=torch.bool)
        if self.reference is None:
            teaching = batch.advantages_B != 0
        start, places = 0, teaching.nonzero()[:, 0]
        for micro in (
            batch.select(places).microbatches(self.config.micro_tokens) if len(places) else ()
        ):
            own_BC = completion_logprobs(self.model, micro.rows, self.temperature)
            found_BC[places[start : start + len(micro)], : own_BC.shape[1]] = own_BC
            start += len(micro)
        return found_BC

    def _loss(self, micro: Batch, divisor: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one micro-batch, with token sums for the metrics."""
        logprobs_BC = completion_logprobs(self.model, micro.rows, self.temperature)
        reference_BC = None
        if self.reference is not None:
            with torch.no_grad():
                reference_BC = completion_logprobs(self.reference, micro.rows, self.temperature)
        tokens = TokenBatch(
            micro.rollout_logprobs_BC, micro.advantages_B, micro.mask_BC, reference_BC,
            micro.proximal_BC, micro.kept_BC,
        )  # fmt: skip
        return policy_loss(logprobs_BC, tokens, divisor, self.loss_config)

    def _clip_gradient(self) -> float:
        """Scale the gradient down to the largest allowed norm; returns its norm before."""
        limit = self.config.max_grad_norm or math.inf
        return float(torch.nn.utils.clip_grad_norm_(self.trained.values(), limit))

    def _randomise(self, rng: np.random.Generator) -> None:
        """Put normal numbers in the place of every parameter's gradient, scaled to its norm."""
        for parameter in self.trained.values():
            assert parameter.grad is not None
            drawn = torch.from_numpy(rng.standard_normal(parameter.shape, dtype=np.float32))
            drawn = drawn.to(parameter.grad)
            parameter.grad = drawn * (parameter.grad.norm() / drawn.norm())

    # ---- what a resumed run goes on from -------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Trained weights and optimizer moments by name, for :meth:`load_state`.

        What is not trained is not among them (frozen weights, the reference model): a resumed run
        loads it.
        """
        tensors = {f"weight/{n}": p.detach() for n, p in self.trained.items()}
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        return tensors | {"updates_done": torch.tensor(self.updates_done)}

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the state that :meth:`state` returned."""
        parameters = self.trained
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"weight/{name}"])
        for full, value in tensors.items():
            if full.startswith("optimizer/"):
                _, key, name = full.split("/", 2)
                own = parameters[name]
                self.optimizer.state[own][key] = value.clone().to(own.device)
        self.updates_done = int(tensors["updates_done"])


def _make_optimizer(
    parameters: list[nn.Parameter], config: OptimizerConfig
) -> torch.optim.Optimizer:
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def _merge(sums: dict[str, float], found: Mapping[str, Tensor]) -> None:
    """Add sums to sums; keys ``max_…`` take the larger."""
    for key, value in found.items():
        number = float(value)
        old = sums.get(key, 0.0)
        sums[key] = max(old, number) if key.startswith("max_") else old + number


class _Totals:
    """The sums of a step's updates, and the metrics they make."""

    def __init__(self) -> None:
        self.updates: list[dict[str, float]] = []

    def add(self, sums: dict[str, float]) -> None:
        self.updates.append(sums)

    def metrics(self, loss: LossConfig, reachable: bool, tokens: float) -> dict[str, float]:
        """Means over updates and tokens, and what the first update alone can tell."""
        first = self.updates[0]
        result = {
            "loss": float(np.mean([u["loss"] for u in self.updates])),
            "grad_norm": float(np.mean([u["grad_norm"] for u in self.updates])),
            "kl_rollout": self._per("kl_rollout", "scored"),
            "updates": len(self.updates),
            "tokens": tokens,
            # Before the first update the learner and the engine hold the same weights: what they
            # differ by, on the tokens of the first minibatch that were scored (without a KL
            # penalty those with an advantage), is the mismatch of their two ways of computing.
            "mismatch/max_logprob_difference": first["max_logprob_difference"],
            "mismatch/mean_logprob_difference": _ratio(
                first["logprob_difference"], first["scored"]
            ),
            "first_update/max_ratio_deviation": first["max_ratio_deviation"],
            "max_ratio_deviation": max(u.get("max_ratio_deviation", 0.0) for u in self.updates),
            "clip_ratio/reachable": float(
                reachable and (loss.clip_low is not None or loss.clip_high is not None)
            ),
            "clip_ratio/high_mean": self._per("high_bound", "tokens"),
            "clip_ratio/low_mean": self._per("low_bound", "tokens"),
            "clip_ratio/high_bound_of_positive": self._per("high_bound", "positive"),
            "clip_ratio/low_bound_of_negative": self._per("low_bound", "negative"),
            "clip_ratio/high_outside_of_negative": self._per("high_outside", "negative"),
            "clip_ratio/low_outside_of_positive": self._per("low_outside", "positive"),
            **self._first_token(first),
        }
        if "kl" in first:
            result["kl"] = self._per("kl", "scored")
        if "tis_weight" in first:
            result["tis/mean_weight"] = self._per("tis_weight", "scored")
            result["tis/capped"] = self._per("tis_capped", "scored")
        return result

    def _first_token(self, first: Mapping[str, float]) -> dict[str, float]:
        """The same of completions' first tokens alone, where most of what follows is decided."""
        of, name = "first_token", "first_token_{}".format
        return {
            f"{of}/high_mean": self._per(name("high_bound"), name("scored")),
            f"{of}/low_mean": self._per(name("low_bound"), name("scored")),
            f"{of}/high_bound_of_positive": self._per(name("high_bound"), name("positive")),
            f"{of}/low_bound_of_negative": self._per(name("low_bound"), name("negative")),
            f"{of}/kl_rollout": self._per(name("kl_rollout"), name("scored")),
            f"{of}/max_logprob_difference": first["max_first_token_logprob_difference"],
        }

    def _per(self, part: str, whole: str) -> float:
        return _ratio(_total(self.updates, part), _total(self.updates, whole))


def _total(updates: Iterable[Mapping[str, float]], key: str) -> float:
    return float(sum(u.get(key, 0.0) for u in updates))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
