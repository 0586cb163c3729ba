"""The commands: one frozen record each, whose fields are its options and ``run`` what it does.

Nothing heavy is imported before a command runs, so that ``placebo --help`` is quick.
"""

from __future__ import annotations

from rlvr_placebo.cli.benching import Bench
from rlvr_placebo.cli.claiming import ClaimsList, ClaimsRun, Clipping
from rlvr_placebo.cli.lab import LabelsBuild, LabelsCheck, PocketBuild, PocketCheck
from rlvr_placebo.cli.models import ModelsCheck, ModelsList
from rlvr_placebo.cli.runs import (
    Benchmarks,
    Eval,
    Probe,
    Prompts,
    Rewards,
    SettingsList,
    Templates,
    Train,
)
from rlvr_placebo.cli.studies import Report, StudyPlan, StudyRun, StudyStatus
from rlvr_placebo.cli.verdicts import Judge, Verdict
from rlvr_placebo.cli.verifying import Verify

GROUPS = {
    "pocket": "Build the embedded families, and check them.",
    "models": "The paper's models, and what is wrong with a checkpoint.",
    "labels": "Labels from votes of an untrained model: build them, check them.",
    "claims": "What is claimed of RLVR: list it, and decide it.",
    "study": "Run a matrix of models, rewards and seeds.",
}
DEFAULTS = {"claims": "list", "models": "list"}  # what a group does where no command of it is named
COMMANDS = {
    "train": Train,
    "eval": Eval,
    "probe": Probe,
    "prompts": Prompts,
    "rewards": Rewards,
    "benchmarks": Benchmarks,
    "templates": Templates,
    "settings": SettingsList,
    "models": {"list": ModelsList, "check": ModelsCheck},
    "pocket": {"build": PocketBuild, "check": PocketCheck},
    "labels": {"build": LabelsBuild, "check": LabelsCheck},
    "study": {"run": StudyRun, "status": StudyStatus, "plan": StudyPlan},
    "claims": {"list": ClaimsList, "run": ClaimsRun},
    "clipping": Clipping,
    "judge": Judge,
    "verdict": Verdict,
    "report": Report,
    "verify": Verify,
    "bench": Bench,
}
