"""What a rollout engine must do, and what it may not: every floor above knows only this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.records import Completion


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Example: ``Sampling(temperature=1.0, top_p=1.0, max_tokens=64)``.

    Attributes:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: keep the smallest set of tokens whose probability reaches it, and renormalise.
        max_tokens: the longest completion, stop token included.
        stops: texts behind whose first occurrence a completion ends, besides stop tokens.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    stops: tuple[str, ...] = ()


def check_length(prompts: Sequence[Sequence[int]], max_tokens: int, max_positions: int) -> None:
    """Refuse prompts that are empty or leave no room for their completions.

    Args:
        prompts: token ids.
        max_tokens: the longest completion.
        max_positions: the model's.

    Raises:
        PlaceboError: one of them is, or does.
    """
    if any(len(p) == 0 for p in prompts):
        raise PlaceboError("a prompt has no tokens")
    longest = max(len(p) for p in prompts)
    if longest + max_tokens > max_positions:
        raise PlaceboError(
            f"a prompt of {longest} tokens and {max_tokens} new ones exceed the model's "
            f"{max_positions} positions; lower max_tokens"
        )


# (index of the prompt, index of the seed, the completion)
Finished = Callable[[int, int, Completion], None]


class Engine(Protocol):
    """Generates completions with the weights it was last given.

    Attributes:
        name: part of every evaluation contract.
        block: samples between two marks from which a killed evaluation goes on.
    """

    name: str
    block: int

    def generate(
        self,
        prompts_P: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds_P_G: Sequence[Sequence[int]],
        finished: Finished | None = None,
    ) -> list[list[Completion]]:
        """Generate G completions for each of P prompts.

        Args:
            prompts_P: token ids of the prompts.
            sampling: how tokens are drawn.
            seeds_P_G: one 64-bit seed per completion; the token at a position depends on the
                prompt, the weights, the seed and the position, and on the batch around it by
                rounding at most.
            finished: told of every completion, as soon as it can be, while others are generated.

        Returns:
            Completions in the order of the seeds.
        """
        ...

    def load_weights(self, state: Mapping[str, Any], version: int) -> None:
        """Take new weights; completions generated from now on carry ``version``."""
        ...
