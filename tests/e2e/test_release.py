"""A release, used by somebody who has nothing else: deployed, asked by the wheel, and put over the previous release."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.e2e.assertions import outcomes_of, posts_for, scheduled
from tests.sandbox.deployment import SOMEBODY, Deployment, deploy_template, prepare_update, wait_until
from tests.sandbox.iam_front import lead_to_iam
from tests.sandbox.releases import Builder, build_previous, uv_cache
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.rotations import Rotation

pytestmark = pytest.mark.release

NewRotation = Callable[..., Rotation]

FUNCTIONS = ("Dispatch", "Rotate", "Audit")
QUEUES = ("RotationRequestsUrl", "FailedRotationsUrl", "UndeliveredTriggersUrl")


@dataclass(frozen=True)
class Release:
    """A release in an empty folder, and the command of its wheel."""

    template: Path
    command: Path

    def run(self, stack: Deployment, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the wheel's command for a stack, with no more than AWS credentials."""
        return subprocess.run(
            [self.command, *arguments, "--stack", stack.stack],
            cwd=self.template.parent,
            env={"PATH": os.environ["PATH"], **stack.aws.environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    path = os.environ["PATH"].split(os.pathsep)
    made = Builder(tmp_path_factory.mktemp("builder"), 0o022, path, UV_CACHE_DIR=uv_cache()).wait()
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=made, check=True, capture_output=True)
    (archive,), (wheel,) = made.glob("*.zip"), made.glob("*.whl")
    folder = tmp_path_factory.mktemp("user")
    with ZipFile(archive) as package:
        package.extractall(folder)
    python = folder / "environment" / "bin" / "python"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, python.parents[1]], check=True)
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, wheel], check=True)
    return Release(folder / archive.stem / "template.yaml", python.parent / "infisical-rotation")


def stack_of(deployed: Sandbox, name: str, template: Path) -> Sandbox:
    """Deploy a template beside the stack of all tests, with a machine identity of its own."""
    identity = deployed.infisical.add_identity({"read", "rotate-secrets"}, allowed_principals=[])
    parameters = {
        "InfisicalUrl": deployed.url,
        "MachineIdentityId": identity.id,
        "RotationMapParameter": f"/{name}/map",
        "CustomEventSource": f"rotations-of-{name}",
    }
    stack = deploy_template(deployed.stack.aws, name, template, SOMEBODY | parameters)
    identity.allowed_principals = [stack.outputs[f"{function}RoleArn"] for function in FUNCTIONS]
    lead_to_iam(stack, deployed.iam_url)
    return replace(deployed, stack=stack)


def test_an_unpacked_release_deploys_and_its_wheel_finds_no_problem(
    deployed: Sandbox, release: Release, new_rotation: NewRotation, tmp_path: Path
) -> None:
    rotation = new_rotation(is_auto_rotation_enabled=False)
    unpacked = stack_of(deployed, "from-release", release.template)
    rotation_map = tmp_path / "map.json"
    rotation_map.write_text(json.dumps({"triggers": {"weekly": rotation.id}}))

    put = release.run(unpacked.stack, "map", str(rotation_map), "--yes")
    found = release.run(unpacked.stack, "preflight", "--json")
    kept = release.run(unpacked.stack, "redrive", "--dry-run", "--json")

    assert (put.returncode, put.stderr) == (0, "")
    assert (found.returncode, found.stderr) == (0, "")
    report = json.loads(found.stdout)
    assert [(each["rotation"], each["decision"]) for each in report["rotations"]] == [(rotation.name, "rotate")]
    assert (report["problems"], report["access_not_checked"]) == ([], [])
    assert json.loads(kept.stdout) == {"messages": [], "left": 0, "held": 0, "complete": True}
    unpacked.stack.send(scheduled())
    assert [end["outcome"] for end in outcomes_of(unpacked, rotation)] == ["rotated"]


def test_an_upgrade_from_the_previous_release_keeps_requests_that_wait(
    deployed: Sandbox, release: Release, new_rotation: NewRotation, tmp_path: Path
) -> None:
    waiting = [new_rotation(is_auto_rotation_enabled=False) for _ in range(3)]
    previous = stack_of(deployed, "upgraded", build_previous(tmp_path))
    stack = previous.stack
    # An update takes away what leads the functions to the sandbox's IAM, so that the key guard would refuse.
    stack.put_map({"triggers": {"weekly": [{"id": rotation.id, "keyGuard": False} for rotation in waiting]}})
    update = prepare_update(stack, release.template, **SOMEBODY)
    old_code = code_of(stack)

    # given requests of the previous release that wait in the queue
    switch_consumption(stack, on=False)
    stack.send(scheduled())
    wait_until("requests that wait", lambda: stack.depth("RotationRequestsUrl") == len(waiting))

    # when the new release arrives
    update()
    described = stack.cloudformation.describe_stacks(StackName=stack.stack)["Stacks"][0]["Outputs"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described}
    upgraded = replace(previous, stack=replace(stack, outputs=outputs))
    assert outputs.keys() > stack.outputs.keys()
    assert outputs.items() >= {name: stack.outputs[name] for name in QUEUES}.items()
    assert code_of(stack) != old_code
    assert [posts_for(upgraded, rotation) for rotation in waiting] == [0] * len(waiting)

    # then its code works them, once each
    switch_consumption(stack, on=True)
    ends = outcomes_of(upgraded, *waiting)
    assert [end["outcome"] for end in ends] == ["rotated"] * len(waiting)
    assert [posts_for(upgraded, rotation) for rotation in waiting] == [1] * len(waiting)
    assert upgraded.stack.depth("FailedRotationsUrl") == 0

    # and its preflight finds no problem
    lead_to_iam(upgraded.stack, deployed.iam_url)
    found = release.run(upgraded.stack, "preflight", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    decisions = [(each["rotation"], each["decision"]) for each in json.loads(found.stdout)["rotations"]]
    assert decisions == [(rotation.name, "skip") for rotation in waiting]


def code_of(stack: Deployment) -> str:
    """The hash of the code of `rotate`."""
    return stack.lambda_.get_function_configuration(FunctionName=rotate_of(stack))["CodeSha256"]


def rotate_of(stack: Deployment) -> str:
    return stack.resources("AWS::Lambda::Function")["RotateFunction"]


def switch_consumption(stack: Deployment, *, on: bool) -> None:
    """Let `rotate` receive requests, or let them wait."""
    (mapping,) = stack.lambda_.list_event_source_mappings(FunctionName=rotate_of(stack))["EventSourceMappings"]
    stack.lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=on)
    state = "Enabled" if on else "Disabled"
    wait_until(
        f"the mapping to be {state}",
        lambda: stack.lambda_.get_event_source_mapping(UUID=mapping["UUID"])["State"] == state,
    )
