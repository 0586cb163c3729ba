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
        parts = [f"Python and its libraries {_gigabytes(self.process)}"]
        if self.update:
            parts += [f"weights, gradients and moments {_gigabytes(self.weights)}",
                      f"generation {_gigabytes(self.rollout)} or update "
                      f"{_gigabytes(self.update)}"]  # fmt: skip
        else:
            parts += [f"weights {_gigabytes(self.weights)}",
                      f"generation {_gigabytes(self.rollout)}"]  # fmt: skip
        return f"about {_gigabytes(self.total)} ({', '.join(parts)})"


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
    width, copies = _computed(config.precision, every)
    weights = every * (1 + (config.loss.kl != 0)) + trained * (1 + moments)  # with the reference
    longest = max(map(len, prompts))
    room = max(config.rollout.max_tokens, config.evaluation.max_tokens)
    asked = config.rollout.problems * config.rollout.samples
    evaluated = len(prompts) * config.evaluation.samples
    rows = min(config.rollout.max_rows, max(asked, evaluated))
    rollout = _generation(a, (rows, longest, room), width, gpu)
    process = PROCESS + (PEFT if config.lora.rank else 0)
    update = _update(config, a, longest, width)
    update += FLOAT * 2 * (WIDER * CHUNK if gpu else 0)
    return Needs(FLOAT * weights, rollout + copies, update + copies, process)


def evaluation_needs(
    a: Architecture, parameters: int, precision: str, asked: tuple[int, int, int], gpu: bool
) -> Needs:
    """Estimate what an evaluation needs.

    Args:
        a: the model.
        parameters: how many it has.
        precision: that it is computed with.
        asked: rows at once, tokens of the longest prompt, and of the longest completion.
        gpu: whether it is on one.
    """
    width, copies = _computed(precision, parameters)
    return Needs(FLOAT * parameters, _generation(a, asked, width, gpu) + copies, 0)


def _computed(precision: str, parameters: int) -> tuple[int, int]:
    """Bytes of a number that is computed with, and of copies of weights in such numbers."""
    width = FLOAT if precision == PRECISIONS[0] else HALF
    return width, parameters * width if width < FLOAT else 0


def _generation(a: Architecture, asked: tuple[int, int, int], width: int, gpu: bool) -> int:
    """Bytes of the cache, at worst with a prompt of its own for every row, and of the logits."""
    rows, longest, room = asked
    cache = 2 * a.layers * a.kv_heads * a.head_dim * width * rows * (room + longest)
    logits = 6 * rows * a.vocab_size * FLOAT  # with what the sampler makes of them
    return (1 if gpu else 2) * cache + logits  # on the CPU the cache grows, and is copied for it


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


def check_memory(config: RunConfig, need: Needs, free: int | None = None, held: int = 0) -> None:
    """Refuse a run that does not fit into what is free.

    Args:
        config: the run.
        need: of it.
        free: bytes of its GPU; None: it is on the CPU.
        held: bytes of what it needs that are loaded already.

    Raises:
        PlaceboError: what it needs, what there is, and which settings lower it.
    """
    advice = "lower optimizer.micro_tokens, or set optimizer.checkpointing=true"
    if need.rollout > need.update:
        advice = "lower rollout.max_rows or rollout.max_tokens"
    if config.precision == PRECISIONS[0]:
        advice += ", or precision=bfloat16"
    free = available() if free is None else free
    free = None if free is None else free + held
    if free is not None and PROCESS + need.weights > free:
        whole = "" if config.lora.rank else "train adapters (lora.rank=16), or "
        advice = f"{whole}take a smaller model"
    _must_fit(config.model, need, free, advice)


def check_evaluation_memory(need: Needs, free: int | None = None) -> None:
    """Refuse an evaluation that does not fit; see :func:`check_memory`."""
    free = available() if free is None else free
    held = 0 if free is None else PROCESS + need.weights  # here already
    _must_fit("the evaluation", need, None if free is None else free + held,
              "lower --max-rows or --max-tokens, or compute with --precision bfloat16")  # fmt: skip


def _must_fit(what: str, need: Needs, free: int | None, advice: str) -> None:
    if free is not None and need.total > free:
        there = _gigabytes(free)
        raise PlaceboError(f"memory: {what} needs {need}, and {there} are free; {advice}")


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
