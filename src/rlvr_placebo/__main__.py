"""``python -m rlvr_placebo`` is ``placebo``."""

import sys

from rlvr_placebo.cli.main import main

sys.exit(main())
