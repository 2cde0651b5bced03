"""The subcommands of `infisical-rotation`, as a person runs them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.sandbox import Sandbox


class Run(NamedTuple):
    status: int
    lines: list[str]
    errors: str

    def problems(self, subject: str) -> list[str]:
        """The lines about something that has to be seen to."""
        return [line for line in self.lines if line.startswith("✗ ") and subject in line]


def run_tool(deployed: Sandbox, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Run:
    """What `make` runs, with its output in a pipe; AWS_ENDPOINT_URL leads it to the embedded AWS."""
    run = subprocess.run(
        [sys.executable, "-m", "infisical_rotation_triggers", name, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            **deployed.stack.aws.environment,
            **(environment or {}),
            "PYTHONPATH": f"{ROOT}{os.pathsep}functions",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(run.returncode, run.stdout.splitlines(), run.stderr)
