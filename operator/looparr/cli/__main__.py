"""`python -m looparr.cli`: the command line where its script is not on PATH."""

import sys

from looparr.cli import run

sys.exit(run())
