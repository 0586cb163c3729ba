"""What is timed: models, batches and lengths, each with a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlvr_placebo.core.errors import PlaceboError, suggest
from rlvr_placebo.model.architecture import Architecture
from rlvr_placebo.model.checkpoint import load, save
from rlvr_placebo.model.decoder import Decoder, initialise

MODEL = "pocket/code-prior"


@dataclass(frozen=True)
class Profile:
    """One thing to time. Example: ``Profile("step-8", "step", 16, 16, 64, 8)``.

    Attributes:
        name: what it is called on the command line and in the JSON.
        kind: ``step`` (generation, scoring, updates), ``generation``, or ``workers`` (steps in
            processes of their own at the same time).
        problems: prompts at a time.
        samples: completions of each.
        max_tokens: the longest completion.
        updates: optimizer steps per rollout batch.
        width: hidden size of a model with random weights; 0 is the shipped ``pocket/code-prior``.
        layers: of that model.
        workers: processes of ``workers``.
    """

    name: str
    kind: str
    problems: int
    samples: int
    max_tokens: int
    updates: int = 1
    width: int = 0
    layers: int = 0
    workers: int = 1


PROFILES: Mapping[str, Profile] = {
    p.name: p
    for p in (
        Profile("step-8", "step", 16, 16, 64, 8),
        Profile("step-1", "step", 16, 16, 64, 1),
        Profile("step-1m", "step", 8, 8, 64, 1, width=160, layers=4),
        Profile("step-5m", "step", 4, 8, 256, 1, width=288, layers=5),
        Profile("generation-64", "generation", 4, 16, 64),
        Profile("generation-256", "generation", 16, 16, 64),
        Profile("generation-1024", "generation", 64, 16, 64),
    )
}


# What doubles, and what it costs: rows, longest completion, width of the model, workers.
SCALING: Mapping[str, Profile] = {
    p.name: p
    for p in (
        *(Profile(f"rows-{16 * n}", "step", n, 16, 64) for n in (1, 4, 16, 64)),
        *(Profile(f"length-{n}", "step", 4, 8, n, width=160, layers=4) for n in (32, 128, 512)),
        *(Profile(f"width-{n}", "step", 8, 8, 64, width=n, layers=4) for n in (96, 192, 384)),
        *(Profile(f"workers-{n}", "workers", 16, 16, 64, workers=n) for n in (1, 2, 4)),
    )
}


def find(names: tuple[str, ...], scaling: bool = False) -> list[Profile]:
    """The profiles of these names, or all, or all that show how cost grows.

    Raises:
        PlaceboError: there is none of a name, or names and ``scaling`` are given.
    """
    every = {**PROFILES, **SCALING}
    for name in names:
        if name not in every:
            raise PlaceboError(f"unknown profile {name!r}; {suggest(name, list(every))}")
    if names and scaling:
        raise PlaceboError("bench: --scaling has its own profiles; give it or --profiles, not both")
    return [every[name] for name in dict.fromkeys(names or (SCALING if scaling else PROFILES))]


def checkpoint_folder(profile: Profile, scratch: Path) -> Path:
    """The folder of a profile's model: the shipped one, written out, or random weights."""
    shipped = load(MODEL)
    model = shipped.model
    if profile.width:
        heads = profile.width // 32
        model = Decoder(
            Architecture(
                "qwen2", model.architecture.vocab_size, profile.width, profile.layers, heads,
                heads, 32, 8 * profile.width // 3 // 16 * 16, 2048, 1e-6, 10000.0, tied=True,
                attention_bias=False,
            )
        )  # fmt: skip
        initialise(model, seed=1, std=0.05)
    folder = scratch / profile.name
    save(model, shipped.tokenizer, folder)
    return folder
