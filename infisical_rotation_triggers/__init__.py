"""The tools for a deployed stack, as one command; a wheel brings them without a clone."""

import sys
from pathlib import Path

# A wheel has the functions' package `rotator` in here, because another distribution on PyPI has that name too. A clone
# has it in functions/, which the Makefile adds to PYTHONPATH.
sys.path.insert(0, str(Path(__file__).parent / "functions"))
