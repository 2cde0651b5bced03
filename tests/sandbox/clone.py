"""Copies of the project, as a clone has it."""

import shutil
import subprocess
from pathlib import Path

from tests.sandbox.embedded_aws import ROOT


def clone(folder: Path, umask: int = 0o022) -> None:
    """Copy what git has of the working tree, uncommitted changes included."""
    names = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in names.split("\0"):
        if (source := ROOT / name).is_file():  # a deleted one is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name).chmod(0o666 & ~umask)
