"""What memory a run will need, said before it starts; and advice where it does not fit.

An estimate from shapes: weights, gradients and moments exactly; activations by what a layer keeps
for its backward pass; the rollout cache and the logits of a batch. It has been held against few
measured peaks so far, and against none on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.evaluate.contract import PRECISIONS
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.logprobs import CHUNK, WIDER
from rlvr_placebo.train.config import RunConfig

PROCESS = 600 << 20  # Python and its libraries, the verifier's worker; or what CUDA takes itself
PEFT = 160 << 20  # what it imports
FLOAT, HALF = 4, 2
LIMITS = {  # of a control group, and what it holds
    "/sys/fs/cgroup/memory.max": "/sys/fs/cgroup/memory.current",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "/sys/fs/cgroup/memory/memory.usage_in_bytes",
}


@dataclass(frozen=True)
class Needs:
    """Bytes by purpose. ``weights`` include gradients, moments and the reference model."""

    weights: int
    rollout: int
    update: int
    process: int = PROCESS

    @property
    def total(self) -> int:
        """The peak: generation and update do not happen at once."""
        return self.process + self.weights + max(self.rollout, self.update)

    def __str__(self) -> str:
        """In one line."""
        return (
            f"about {_gigabytes(self.total)} (Python and its libraries {_gigabytes(self.process)}, "
            f"weights, gradients and moments "
            f"{_gigabytes(self.weights)}, generation {_gigabytes(self.rollout)} or update "
            f"{_gigabytes(self.update)})"
        )


def needs(
    config: RunConfig, a: Architecture, parameters: tuple[int, int],
    prompts: Sequence[Sequence[int]], gpu: bool = False,
) -> Needs:  # fmt: skip
    """Estimate what a run needs.

    Args:
        config: the run.
        a: its model.
        parameters: how many the model has, and how many of them are trained.
        prompts: token ids of all that it may be asked.
        gpu: whether it is on one.
    """
    moments = 2 if config.optimizer.name == "adamw" else 0
    every, trained = parameters
    width = FLOAT if config.precision == PRECISIONS[0] else HALF
    copies = every * width if width < FLOAT else 0  # of the weights, while they are computed with
    weights = every * (1 + (config.loss.kl != 0)) + trained * (1 + moments)  # with the reference
    longest = max(map(len, prompts))
    room = max(config.rollout.max_tokens, config.evaluation.max_tokens)
    asked = config.rollout.problems * config.rollout.samples
    evaluated = len(prompts) * config.evaluation.samples
    rows = min(config.rollout.max_rows, max(asked, evaluated))
    kept = 2 * a.layers * a.kv_heads * a.head_dim * width
    cache = kept * rows * (room + longest)  # at worst every row has a prompt of its own
    logits = 6 * rows * a.vocab_size * FLOAT  # with what the sampler makes of them
    process = PROCESS + (PEFT if config.lora.rank else 0)
    update = _update(config, a, longest, width)
    update += FLOAT * 2 * (WIDER * CHUNK if gpu else 0)
    moved = 1 if gpu else 2  # on the CPU the cache grows, and is copied when it does
    return Needs(FLOAT * weights, moved * cache + logits + copies, update + copies, process)


def _update(config: RunConfig, a: Architecture, longest: int, width: int) -> int:
    """Bytes of the activations of one micro-batch, and of the logits of a chunk."""
    per_update = config.rollout.problems * config.rollout.samples / config.optimizer.minibatches
    prompts = max(1.0, per_update / config.rollout.samples)
    most = per_update * config.rollout.max_tokens + prompts * longest
    tokens = min(config.optimizer.micro_tokens, most)
    heads = (a.heads + 2 * a.kv_heads) * a.head_dim
    spread = 1 + longest / config.rollout.max_tokens  # keys of the prompt stand beside each row's
    layer = 8 * a.hidden_size + heads * (5 + 2 * spread) + 4 * a.intermediate_size
    layers = 1 if config.optimizer.checkpointing else a.layers
    inputs = a.hidden_size * a.layers if config.optimizer.checkpointing else 0
    masks = tokens * (longest + config.rollout.max_tokens)
    logits = 2 * min(CHUNK, tokens * a.vocab_size) + a.vocab_size * a.hidden_size
    return int(width * (tokens * (layer * layers + inputs) + masks) + FLOAT * logits)


def check_memory(config: RunConfig, need: Needs, free: int | None = None) -> None:
    """Refuse a run that does not fit into what is free.

    Args:
        config: the run.
        need: of it.
        free: bytes of its GPU; None: it is on the CPU.

    Raises:
        PlaceboError: what it needs, what there is, and which settings lower it.
    """
    free = available() if free is None else free
    if free is None or need.total <= free:
        return
    advice = "lower optimizer.micro_tokens, or set optimizer.checkpointing=true"
    if need.rollout > need.update:
        advice = "lower rollout.max_rows or rollout.max_tokens"
    if PROCESS + need.weights > free:
        advice = "take a smaller model"
    raise PlaceboError(
        f"memory: {config.model} needs {need}, and {_gigabytes(free)} are free; {advice}"
    )


def available() -> int | None:
    """Bytes that this process may still take, or None where the system does not say."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(x.split()[1]) << 10 for x in lines if x.startswith("MemAvailable")]
    except (OSError, ValueError):
        pass
    for limit, used in LIMITS.items():
        try:
            held = int(Path(used).read_text(encoding="ascii"))
            found.append(int(Path(limit).read_text(encoding="ascii")) - held)
        except (OSError, ValueError):
            continue
    return min(found) if found else None


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
