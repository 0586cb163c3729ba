"""The claims of arXiv 2506.10947 and of what was written after it, for the embedded lab.

What an effect would have to be was written here before its study was run, but for those claims that
docs/findings.md names; what came out stands there.
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
_FRESH = Reading(benchmark="pocket-fresh@1")
PAPER = "arXiv 2506.10947"


def gain(
    model: str, reward: str, rule: Rule = Rule.RISES, variant: str = "plain",
    reading: Reading = ACCURACY, idle: bool = False,
) -> Effect:  # fmt: skip
    """What a reward adds to accuracy."""
    arm = Arm(model, reward, variant)
    where = {
        ACCURACY: "accuracy",
        _NEW: "accuracy on new stories",
        _FRESH: "accuracy on new numbers",
    }
    return Effect(f"{where[reading]}, {arm}", ((1.0, arm, reading),), rule, idle=idle)


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


def kept(other: Reading, what: str) -> Effect:
    """What true labels give on known problems beyond what they give on others."""
    arm = Arm(CODE, TRUE, "transfer")
    terms = ((1.0, arm, ACCURACY), (-1.0, arm, other))
    return Effect(
        f"accuracy on known less on new {what}, {TRUE} on code-prior", terms, Rule.NO_RISE
    )


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
        "really-wrong", "The answers of other problems as labels lower accuracy.",
        "arXiv 2603.16140",
        "labels", tuple(gain(m, FAR, Rule.FALLS) for m in (CODE, WORDS)),
    ),
    Claim(
        "least-likely", "Labels that a model itself hardly believes lower accuracy.",
        "arXiv 2603.16140",
        "least-likely", tuple(gain(m, "minority_vote", Rule.FALLS) for m in (CODE, WORDS)),
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
        f"{PAPER}, fig. 2", "random",
        (gain(CODE, RANDOM), moved(CODE, RANDOM, _LATE, Rule.RISES)), quick=True,
    ),
    Claim(
        "gamma", "The rate of a random reward makes no difference, unless it is 0.",
        f"{PAPER}, fig. 10", "rates",
        (
            *(more(Arm(CODE, f"random({g})"), Arm(CODE, RANDOM), Rule.STAYS)
              for g in (0.7, 0.3, 0.001)),
            gain(CODE, "random(0)", Rule.STAYS, idle=True),
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
        "prior", "Paying for Python gives more where code is good, on either architecture.",
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
        "no-python-spurious", "With Python forbidden, neither wrong labels nor chance raise it.",
        f"{PAPER}, fig. 9", "no-python",
        tuple(gain(CODE, without(r), Rule.NO_RISE) for r in (WRONG, RANDOM)),
    ),
    Claim(
        "no-repetition", "Paying for answers that do not repeat themselves raises good code.",
        f"{PAPER}, fig. 11", "no-repetition", (gain(CODE, "no_repetition"),),
    ),
    Claim(
        "prompts", "A prompt alone, even one that means nothing, raises an untrained model.",
        f"{PAPER}, app. G", "labels", tuple(prompted(CODE, t) for t in ("nonsense", "boxed")),
    ),
    Claim(
        "under-prompts", "Under another prompt, too, true labels give more than random rewards.",
        f"{PAPER}, app. G", "prompts",
        tuple(
            more(Arm(CODE, TRUE, v), Arm(CODE, RANDOM, v)) for v in ("boxed", "nonsense")
        ),
    ),
    Claim(
        "stories", "What true labels teach on known stories holds for new stories.",
        "arXiv 2507.10532", "contamination", (kept(_NEW, "stories"),),
    ),
    Claim(
        "numbers", "What true labels teach on known problems holds for new numbers.",
        "arXiv 2507.10532", "contamination", (kept(_FRESH, "numbers"),),
    ),
    Claim(
        "contamination", "A reward that tells nothing raises a model on problems that it knows, "
        "not on fresh ones.", "arXiv 2507.10532", "contamination",
        (
            gain(MEMORISER, RANDOM, variant="transfer"),
            gain(MEMORISER, RANDOM, Rule.NO_RISE, "transfer", _FRESH),
        ),
    ),
    Claim(
        "fresh", "On fresh problems a model that knows the old ones gains from true labels.",
        "arXiv 2507.10532", "contamination",
        (gain(MEMORISER, TRUE, variant="transfer", reading=_FRESH),),
    ),
    Claim(
        "trained", "A model that true labels have trained gains nothing more, from these three.",
        f"{PAPER}, sec. 5", "trained",
        tuple(gain(f"trained/{CODE.removeprefix('pocket/')}", r, Rule.NO_RISE)
              for r in (TRUE, FORMAT, RANDOM)),
    ),
    Claim(
        "longer", "Three times the steps turn a random reward's effect into a gain.",
        f"{PAPER}, fig. 2", "longer", (gain(CODE, RANDOM, variant="longer"),),
    ),
    Claim(
        "longer-wrong", "After three times the steps wrong labels have lowered accuracy.",
        "ours", "longer", (gain(CODE, WRONG, Rule.FALLS, variant="longer"),),
    ),
)  # fmt: skip

CLAIMS: Mapping[str, Claim] = {claim.id: claim for claim in _ALL}
# Written down before anything was run (not calibrated): the score is reported as it falls.
SIGNATURES = ("switching", "code-falls", "format-fades", "no-python", "gamma")
