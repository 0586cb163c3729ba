"""The contract of an evaluation: everything that decides its numbers, hashed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rlvr_placebo.core.errors import PlaceboError
from rlvr_placebo.core.files import digest
from rlvr_placebo.core.records import Problem
from rlvr_placebo.text.problems import content_hash
from rlvr_placebo.text.templates import Template
from rlvr_placebo.text.tokenizer import Tokenizer
from rlvr_placebo.verify.extract import FALLBACKS
from rlvr_placebo.verify.judge import VERSION as VERIFIER

COLDEST, HOTTEST = 0.01, 100.0  # temperatures above 0; nearer to 0, ask for 0
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Decoding:
    """One way of decoding. Example: ``Decoding(temperature=1.0, samples=8)``."""

    temperature: float
    samples: int


def decodings(temperatures: Sequence[float], samples: int) -> tuple[Decoding, ...]:
    """One sample per problem at temperature 0, where all would be alike, else ``samples``."""
    return tuple(Decoding(t, 1 if t == 0 else samples) for t in temperatures)


@dataclass(frozen=True)
class Contract:
    """What two evaluations must share before their numbers may be compared.

    Example: greedy and 4 samples at T = 1 of ``pocket-500`` under the plain prompt::

        Contract("pocket-500", "9f…", "plain", "41…", (Decoding(0, 1), Decoding(1, 4)), …)

    Attributes:
        benchmark: name of the problem set, as it was asked for.
        content: hash of its problems.
        template: name of the prompt template.
        prompt: hash of the template's text.
        decodings: temperatures and samples.
        max_tokens: the longest completion.
        seed: of all decoding; never the run's.
        stops: ids of the stop tokens.
        stop_texts: of the template.
        verifier: version of extraction and equivalence.
        extraction: what is taken where no answer is stated.
        dtype: of the weights and activations.
        engine: which rollout engine.
    """

    benchmark: str
    content: str
    template: str
    prompt: str
    decodings: tuple[Decoding, ...]
    max_tokens: int
    seed: int
    stops: tuple[int, ...]
    stop_texts: tuple[str, ...] = ()
    top_p: float = 1.0
    verifier: str = VERIFIER
    extraction: str = "none"
    dtype: str = "float32"
    engine: str = "native"

    @property
    def measurement(self) -> str:
        """Hash of all but the prompt and names: numbers with unequal ones are not comparable."""
        aside = ("benchmark", "template", "prompt")
        return digest({k: v for k, v in asdict(self).items() if k not in aside})

    def as_dict(self) -> dict[str, object]:
        """All fields and the measurement hash, ready for JSON."""
        fields = {**asdict(self), "stops": list(self.stops),
                  "stop_texts": list(self.stop_texts)}  # fmt: skip
        fields["decodings"] = [asdict(d) for d in self.decodings]
        return {**fields, "measurement": self.measurement}


def make_contract(
    benchmark: str,
    problems: Sequence[Problem],
    template: Template,
    tokenizer: Tokenizer,
    how: EvaluationConfig,
    precision: str = PRECISIONS[0],
) -> Contract:
    """Fix the contract of one benchmark."""
    return Contract(
        benchmark=benchmark,
        content=content_hash(problems),
        template=template.name,
        prompt=digest([template.id, tokenizer.chat_template]) if template.chat else template.id,
        decodings=decodings(how.temperatures, how.samples),
        max_tokens=how.max_tokens,
        seed=how.seed,
        stops=tokenizer.stops,
        stop_texts=template.stops,
        extraction=how.extraction,
        dtype=precision,
    )


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured before, during and after training."""

    benchmarks: tuple[str, ...] = ("pocket-500",)
    """Problem sets by name, or .jsonl files."""
    every: int = 0
    """Also evaluate every so many steps; 0: before and after training only."""
    temperatures: tuple[float, ...] = (0.0, 1.0)
    """Greedy and T = 1 are both primary end points."""
    samples: int = 4
    """Completions per problem at temperatures above 0."""
    max_tokens: int = 96
    """The longest completion in an evaluation."""
    seed: int = 0
    """Of all decoding in evaluations; the same for every run of a study."""
    extraction: str = "none"
    """Where no answer is stated: none, or last_number (the paper's code); in training too."""


def check_evaluation(how: EvaluationConfig) -> None:
    """Refuse an evaluation that makes no sense, before anything is loaded.

    Raises:
        PlaceboError: what is wrong, and what it may be.
    """
    problem = ""
    if not how.benchmarks or not how.temperatures:
        problem = "at least one benchmark and one temperature are needed"
    elif len(set(how.benchmarks)) < len(how.benchmarks):
        problem = "a benchmark is named twice"
    elif len(set(how.temperatures)) < len(how.temperatures):
        problem = "a temperature is named twice"
    elif not all(t == 0 or COLDEST <= t <= HOTTEST for t in how.temperatures):
        problem = f"temperatures must be 0 (greedy) or lie in [{COLDEST:g}, {HOTTEST:g}]"
    elif how.samples < 1 or how.max_tokens < 1:
        problem = "samples and max_tokens must be at least 1"
    elif how.extraction not in FALLBACKS:
        problem = f"extraction must be one of {', '.join(FALLBACKS)}"
    elif not 0 <= how.seed < 2**63 or how.every < 0:
        problem = "seed and every must be 0 or more"
    if problem:
        raise PlaceboError(f"evaluation: {problem}")
