"""The claims of arXiv 2506.10947 and of what was written after it, for the embedded lab.

What an effect would have to be was written here before its study was run; what came out stands in
docs/findings.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlvr_placebo.claims.claim import Arm, Claim, Effect, Reading, Rule, Span

CODE, MIXED, BAD, WORDS = (
    f"pocket/{f}" for f in ("code-prior", "mixed-prior", "bad-code", "no-code")
)
FAMILIES = (CODE, MIXED, BAD, WORDS)
CODE_OLMO, BAD_QWEN, MEMORISER = (
    "pocket/code-prior-olmo2",
    "pocket/bad-code-qwen2",
    "pocket/memoriser",
)
TRUE, MAJORITY, FORMAT, WRONG = "ground_truth", "majority_vote", "format", "incorrect(1)"
RANDOM, FAR = "random(0.5)", "permuted_gold"
ACCURACY = Reading()
CODE_SHARE = Reading("code")
_MOST = Reading("language_code")  # less half of the gain
_PEAK = Reading(span=Span.SINCE_PEAK)
_LATE = Reading(span=Span.LATE)
_NEW = Reading(benchmark="pocket-new")
PAPER = "arXiv 2506.10947"


def gain(model: str, reward: str, rule: Rule = Rule.RISES, variant: str = "plain") -> Effect:
    """What a reward adds to accuracy."""
    arm = Arm(model, reward, variant)
    return Effect(f"accuracy, {arm}", ((1.0, arm, ACCURACY),), rule)


def more(one: Arm, other: Arm, rule: Rule = Rule.RISES, reading: Reading = ACCURACY) -> Effect:
    """What one arm gains beyond another."""
    return Effect(f"{one} over {other}", ((1.0, one, reading), (-1.0, other, reading)), rule)


def moved(model: str, reward: str, reading: Reading, rule: Rule, margin: float = 3.0) -> Effect:
    """What a reward does to something else than accuracy."""
    arm = Arm(model, reward)
    named = {
        "correct": "accuracy",
        "code": "frequency of code",
        _MOST.measure: "what words→code gained, less half of all",
    }
    what = named[reading.measure]
    if reading.span is not Span.WHOLE:
        what += f" {reading.span}"
    return Effect(f"{what}, {arm}", ((1.0, arm, reading),), rule, margin)


def over_prompt(model: str, reward: str, rule: Rule, untrained: bool) -> Effect:
    """What the forced first sentence does to a model's accuracy."""
    arm = Arm(model, reward)
    reading = Reading(untrained=untrained, template="forced_code")
    who = f"untrained {model.removeprefix('pocket/')}" if untrained else str(arm)
    return Effect(f"forced Python, {who}", ((1.0, arm, reading),), rule)


def prompted(model: str, template: str) -> Effect:
    """What another prompt does to an untrained model."""
    arm, reading = Arm(model, TRUE), Reading(untrained=True, template=template)
    says = f"{template} prompt, untrained {model.removeprefix('pocket/')}"
    return Effect(says, ((1.0, arm, reading),))


def without(reward: str) -> str:
    """A reward, and no Python in the answer."""
    return f"all({reward},no_python)"


_ALL = (
    Claim(
        "true-labels", "True labels raise the accuracy of every family.", f"{PAPER}, fig. 2",
        "labels", tuple(gain(m, TRUE) for m in FAMILIES), quick=True,
    ),
    Claim(
        "majority-vote", "Majority-vote labels raise the accuracy of every family.",
        f"{PAPER}, fig. 2", "labels", tuple(gain(m, MAJORITY) for m in FAMILIES),
    ),
    Claim(
        "format", "Paying for the format alone raises a family that writes good code.",
        f"{PAPER}, fig. 2", "format", (gain(CODE, FORMAT),), quick=True,
    ),
    Claim(
        "format-fades", "What paying for the format gave is partly lost again.",
        f"{PAPER}, fig. 2", "format", (moved(CODE, FORMAT, _PEAK, Rule.FALLS),), quick=True,
    ),
    Claim(
        "incorrect", "Plausible wrong labels raise a family that writes good code.",
        f"{PAPER}, fig. 2", "labels", (gain(CODE, WRONG),), quick=True,
    ),
    Claim(
        "incorrect-elsewhere", "Plausible wrong labels raise no family without good code.",
        f"{PAPER}, fig. 3", "labels", tuple(gain(m, WRONG, Rule.NO_RISE) for m in FAMILIES[1:]),
    ),
    Claim(
        "really-wrong", "Labels that are far from right lower accuracy.", "arXiv 2603.16140",
        "labels", tuple(gain(m, FAR, Rule.FALLS) for m in (CODE, WORDS)),
    ),
    Claim(
        "random", "Random rewards raise a family that writes good code.", f"{PAPER}, fig. 2",
        "random", (gain(CODE, RANDOM),), quick=True,
    ),
    Claim(
        "random-elsewhere", "Random rewards raise no family without good code.",
        f"{PAPER}, fig. 3", "random", tuple(gain(m, RANDOM, Rule.NO_RISE) for m in FAMILIES[1:]),
    ),
    Claim(
        "onset", "What a random reward gives comes in the second half of training.",
        f"{PAPER}, fig. 2", "random", (moved(CODE, RANDOM, _LATE, Rule.RISES),), quick=True,
    ),
    Claim(
        "gamma", "The rate of a random reward makes no difference, unless it is 0.",
        f"{PAPER}, fig. 10", "rates",
        (
            *(more(Arm(CODE, f"random({g})"), Arm(CODE, RANDOM), Rule.STAYS) for g in (0.7, 0.3)),
            gain(CODE, "random(0)", Rule.STAYS),
        ),
    ),
    Claim(
        "one-shot", "One training problem with its true answer raises accuracy.",
        f"{PAPER}, fig. 12; arXiv 2504.20571", "one-shot", (gain(CODE, "one_shot"),),
    ),
    Claim(
        "ttrl", "The group's own majority, on the test problems, raises accuracy on them.",
        f"{PAPER}, fig. 12; arXiv 2504.16084", "ttrl", (gain(CODE, "ttrl"),),
    ),
    Claim(
        "prior", "What a spurious reward gives depends on the prior and not on the architecture.",
        PAPER, "crossed",
        (
            more(Arm(CODE, "python"), Arm(BAD, "python")),
            more(Arm(CODE_OLMO, "python"), Arm(BAD_QWEN, "python")),
        ),
    ),
    Claim(
        "dose", "The less code a family writes, the more paying for Python gives it.", "ours",
        "doses", (more(Arm(f"{CODE}-dose0.2", "python"), Arm(f"{CODE}-dose0.8", "python")),),
    ),
    Claim(
        "dose-random", "The more code a family writes, the more random rewards give it.", PAPER,
        "doses", (more(Arm(f"{CODE}-dose0.8", RANDOM), Arm(f"{CODE}-dose0.2", RANDOM)),),
    ),
    Claim(
        "code-rises", "Under true and under random rewards code becomes more frequent.",
        f"{PAPER}, fig. 6", "random",
        tuple(moved(CODE, r, CODE_SHARE, Rule.RISES) for r in (TRUE, RANDOM)), quick=True,
    ),
    Claim(
        "code-falls", "Under true rewards code becomes more frequent and then less again.",
        f"{PAPER}, fig. 6", "labels",
        (
            moved(CODE, TRUE, Reading("code", span=Span.TO_PEAK), Rule.RISES),
            moved(CODE, TRUE, Reading("code", span=Span.SINCE_PEAK), Rule.FALLS),
        ),
        quick=True,
    ),
    Claim(
        "bad-code-leaves", "Under true rewards bad code becomes less frequent.",
        f"{PAPER}, fig. 6", "labels", (moved(BAD, TRUE, CODE_SHARE, Rule.FALLS),), quick=True,
    ),
    Claim(
        "forced-code", "Forcing a first sentence about Python helps good code and harms bad.",
        f"{PAPER}, table 3", "labels",
        (
            over_prompt(CODE, TRUE, Rule.RISES, untrained=True),
            *(over_prompt(m, TRUE, Rule.FALLS, untrained=True) for m in (MIXED, BAD)),
        ),
    ),
    Claim(
        "forced-after", "After training with true rewards the forced sentence no longer helps.",
        "ours", "labels", (over_prompt(CODE, TRUE, Rule.NO_RISE, untrained=False),),
    ),
    Claim(
        "switching", "Problems that switch from words to code carry most of the gain.",
        f"{PAPER}, table 2", "labels", (moved(CODE, TRUE, _MOST, Rule.RISES, 0.0),), quick=True,
    ),
    Claim(
        "python", "Paying for Python raises a family whose code is good.", f"{PAPER}, fig. 8",
        "python", (gain(CODE, "python"),), quick=True,
    ),
    Claim(
        "python-elsewhere", "Paying for Python raises nobody whose code is worse than its words.",
        f"{PAPER}, fig. 8", "python", tuple(gain(m, "python", Rule.NO_RISE) for m in (MIXED, BAD)),
    ),
    Claim(
        "no-python", "With Python forbidden, true labels still raise accuracy.",
        f"{PAPER}, fig. 9", "no-python", (gain(CODE, without(TRUE)),),
    ),
    Claim(
        "no-python-format", "With Python forbidden, paying for the format no longer does.",
        f"{PAPER}, fig. 9", "no-python", (gain(CODE, without(FORMAT), Rule.NO_RISE),),
    ),
    Claim(
        "no-repetition", "Paying for answers that do not repeat themselves raises good code.",
        f"{PAPER}, fig. 11", "no-repetition", (gain(CODE, "no_repetition"),),
    ),
    Claim(
        "prompts", "A prompt alone, even one that means nothing, raises an untrained model.",
        f"{PAPER}, app. G", "labels", (prompted(CODE, "nonsense"),),
    ),
    Claim(
        "under-prompts", "Under another prompt the order of the rewards is the same.",
        f"{PAPER}, app. G", "prompts",
        tuple(
            more(Arm(CODE, TRUE, v), Arm(CODE, RANDOM, v)) for v in ("boxed", "nonsense")
        ),
    ),
    Claim(
        "stories", "What true labels teach on known stories holds for new stories.",
        "arXiv 2507.10532", "contamination",
        (
            Effect(
                "accuracy on known less on new stories, ground_truth on code-prior",
                ((1.0, Arm(CODE, TRUE, "both"), ACCURACY), (-1.0, Arm(CODE, TRUE, "both"), _NEW)),
                Rule.NO_RISE,
            ),
        ),
    ),
    Claim(
        "contamination", "A model that knows the benchmark gains on it, and not on a fresh one, "
        "from a reward that tells nothing.", "arXiv 2507.10532", "contamination",
        (
            Effect(
                "accuracy on known less on fresh, random(0.5) on memoriser",
                (
                    (1.0, Arm(MEMORISER, RANDOM, "both"), ACCURACY),
                    (-1.0, Arm(MEMORISER, RANDOM, "both"), _NEW),
                ),
            ),
        ),
    ),
    Claim(
        "trained", "A model that true labels have trained gains nothing more, from any reward.",
        f"{PAPER}, sec. 5", "trained",
        tuple(gain(f"trained/{CODE.removeprefix('pocket/')}", r, Rule.NO_RISE)
              for r in (TRUE, FORMAT, RANDOM)),
    ),
    Claim(
        "longer", "Three times the steps turn a random reward's effect into a gain.",
        f"{PAPER}, fig. 2", "longer", (gain(CODE, RANDOM, variant="longer"),),
    ),
    Claim(
        "longer-wrong", "Three times the steps turn wrong labels' effect into a loss.",
        "ours", "longer", (gain(CODE, WRONG, Rule.FALLS, variant="longer"),),
    ),
)  # fmt: skip

CLAIMS: Mapping[str, Claim] = {claim.id: claim for claim in _ALL}
# Written down before anything was run (not calibrated): the score is reported as it falls.
SIGNATURES = ("switching", "code-falls", "format-fades", "no-python", "gamma")
