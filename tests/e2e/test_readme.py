"""The README's five commands, run by somebody who has nothing else: a new account, a new map, a first rotation."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rotator.timestamps import format_timestamp
from tests.sandbox.accounts import Connections, iam_of
from tests.sandbox.deployment import Deployment, deploy, wait_until
from tests.sandbox.embedded_aws import ROOT, EmbeddedAws
from tests.sandbox.iam_front import lead_to_iam
from tests.sandbox.sandbox import LONG_AGO, surroundings
from tests.sandbox.standin.core import StandIn

if TYPE_CHECKING:
    from tests.sandbox.standin.identities import Identity
    from tests.sandbox.standin.rotations import Rotation

pytestmark = pytest.mark.release

README = (ROOT / "README.md").read_text("utf-8")
DEPLOY = README.partition("\n## Deploy\n")[2].partition("\n## ")[0]
PROJECT = "d17eeab6-9bb7-4255-9168-ccac2028bfd4"
FUNCTIONS = ("Dispatch", "Rotate", "Audit")


def commands() -> list[str]:
    """The commands of the README's console block, each with the lines that continue it."""
    block = re.search(r"^```console\n(.*?)^```$", DEPLOY, re.DOTALL | re.MULTILINE)
    assert block
    return [command.strip() for command in block[1].split("$ ")[1:]]


PUT_MAP, DEPLOY_STACK, SHOW_ROLES, PREFLIGHT, ENABLE = commands()
STACK = PREFLIGHT.partition("STACK=")[2].split()[0]


@dataclass(frozen=True)
class Newcomer:
    """A person with an AWS account, an Infisical with two rotations, the AWS CLI, and the README."""

    aws: EmbeddedAws
    url: str
    infisical: StandIn
    identity: "Identity"
    iam_url: str
    connections: Connections
    rotations: list["Rotation"]
    folder: Path

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a shell does, in the person's folder, with the real AWS CLI on the PATH."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return self._run(["bash", "-c", command], {"PATH": path})

    def preflight(self, stack: str) -> subprocess.CompletedProcess[str]:
        """What `make preflight STACK=…` runs."""
        path = f"{ROOT}{os.pathsep}{ROOT / 'functions'}"
        return self._run(
            [sys.executable, "-m", "infisical_rotation_triggers", "preflight", "--stack", stack], {"PYTHONPATH": path}
        )

    def deploy(self, **answers: str) -> Deployment:
        """`make deploy`, with the answers to its questions.

        Those that are not given stay, or are the defaults. The server is the only one that no reader would enter.
        """
        stack = deploy(self.aws, STACK, InfisicalUrl=self.url, **answers)
        lead_to_iam(stack, self.iam_url)
        return stack

    def _run(self, arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        own = {**os.environ, **self.aws.environment, "PYTHONPATH": "", **environment}
        return subprocess.run(arguments, cwd=self.folder, env=own, capture_output=True, text=True, check=False)


@pytest.fixture
def newcomer(artifacts: Path, tmp_path: Path) -> Iterator[Newcomer]:
    assert artifacts.is_dir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "aws").symlink_to(ROOT / ".venv-checks" / "bin" / "aws")
    with surroundings() as around:
        infisical = around.infisical
        # "create a machine identity with AWS Auth … let it read and rotate-secrets"
        identity = infisical.add_identity({"read", "rotate-secrets"}, allowed_principals=[])
        rotations = []
        for user in ("payments-deployer", "reports-uploader"):
            iam_of(around.aws, around.iam_url).create_user(UserName=user)
            rotation = infisical.add_rotation(
                name=user,
                user_name=user,
                last_rotated_at=LONG_AGO,
                project_id=PROJECT,
                is_auto_rotation_enabled=False,  # "and switch their auto-rotation off"
            )
            around.iam_front.date(str(rotation.published["accessKeyId"]), LONG_AGO)
            rotations.append(rotation)
        yield Newcomer(
            around.aws, around.url, infisical, identity, around.iam_url, around.connections, rotations, tmp_path
        )


def test_readmes_commands_deploy_a_stack_that_rotates(newcomer: Newcomer) -> None:
    # the map, as the README has it
    (example,) = re.findall(r"`(\{\"triggers\".*?\})` in `map.json`", DEPLOY)
    (newcomer.folder / "map.json").write_text(example.replace("<the project's id>", PROJECT))
    assert newcomer.run(PUT_MAP).returncode == 0

    # the stack
    assert DEPLOY_STACK.startswith("make deploy")
    assert re.findall(r"[A-Z]\w+", DEPLOY_STACK.partition("#")[2]) == ["MachineIdentityId", "AlarmEmail"]
    stack = newcomer.deploy(MachineIdentityId=newcomer.identity.id, AlarmEmail="on-call@example.com")

    # its roles, as the machine identity's Allowed Principal ARNs
    shown = newcomer.run(SHOW_ROLES)
    roles = re.findall(r"(\w+)RoleArn\s*\|\s*(arn:aws:iam::\d+:role/\S+)", shown.stdout)
    assert {function for function, _ in roles} == set(FUNCTIONS), shown.stderr
    newcomer.identity.allowed_principals = [arn for _, arn in roles]

    # preflight
    found = newcomer.preflight(STACK)
    assert (found.returncode, found.stderr) == (0, "")
    assert "✓ No problems found." in found.stdout
    assert {rotation.name for rotation in newcomer.rotations} <= set(found.stdout.split())

    # the schedule
    assert ENABLE.startswith("make deploy")
    assert re.findall(r"answer (\w+) to (\w+)", ENABLE) == [("ENABLED", "ScheduleState")]
    assert schedule(stack)["State"] == "DISABLED"
    stack = newcomer.deploy(ScheduleState="ENABLED")
    enabled = schedule(stack)
    assert enabled["State"] == "ENABLED"

    # the schedule's first occurrence
    now = format_timestamp(datetime.now(UTC))
    stack.send(json.loads(enabled["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", now)))
    ends = wait_until("two outcomes", lambda: ends if len(ends := stack.outcomes()) >= 2 else [])
    assert sorted((end["rotation_name"], end["outcome"]) for end in ends) == [
        (rotation.name, "rotated") for rotation in newcomer.rotations
    ]


def schedule(stack: Deployment) -> dict[str, Any]:
    """The stack's schedule, as EventBridge Scheduler keeps it."""
    client = stack.aws.client("scheduler")
    found: dict[str, Any] = client.get_schedule(
        GroupName=stack.outputs["ScheduleGroupName"], Name=stack.outputs["ScheduleName"]
    )
    return found


def test_make_deploy_asks_for_the_stack_that_the_readme_names() -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ndeploy:")[2].partition("\n\n")[0]

    assert recipe.splitlines()[1:] == ["\tsam deploy --guided"]
    assert f'stack_name = "{STACK}"' in (ROOT / "samconfig.default.toml").read_text("utf-8")
    assert f"--stack-name {STACK} " in SHOW_ROLES
