"""`make leaked` on the deployed stack, as somebody on call runs it: killed before and after each change, and run again.

Who runs it has the permissions that the runbook lists, and no more.
"""

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from botocore.exceptions import ClientError

from tests.e2e.assertions import outcomes_of, posts_for, scheduled
from tests.e2e.tools import Run
from tests.sandbox.aws_calls import operation
from tests.sandbox.deployment import STACK
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.proxy import Layer, Server, proxy
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.answers import Dropped
from tests.sandbox.standin.rotations import Rotation

pytestmark = pytest.mark.release

IsAccepted = Callable[[Mapping[str, str]], bool]

DAY, WEEK = timedelta(days=1), timedelta(weeks=1)

# Where each change is interrupted: the process is killed before AWS has made it, or after.
BEFORE, AFTER = "before", "after"

DOCUMENTED = {
    "arn:aws:iam::*:user/*": ["iam:GetAccessKeyLastUsed", "iam:ListAccessKeys", "iam:UpdateAccessKey"],
    "arn:aws:lambda:*:*:function:sandbox-DispatchFunction-*": ["lambda:InvokeFunction"],
    "arn:aws:ssm:*:*:parameter/infisical-rotation/map": ["ssm:GetParameter"],
    "*": ["cloudformation:DescribeStacks", "cloudtrail:LookupEvents"],
}


class Watched(Layer):
    """What a run changes passes here: forced rotations and updated keys. It may be killed there."""

    def __init__(self, changes: "Changes") -> None:
        super().__init__(Server())
        self._changes = changes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not _is_change(request):
            return await super().handle_async_request(request)
        if self._changes.kill_at == BEFORE:
            self._changes.kill()
            raise httpx.ReadError("killed")
        answer = await super().handle_async_request(request)
        self._changes.made.append(operation(request))
        if self._changes.kill_at == AFTER:
            await asyncio.to_thread(self._changes.kill)
            raise httpx.ReadError("killed")
        return answer


def _is_change(request: httpx.Request) -> bool:
    if operation(request) == "lambda:POST":
        return "dryRun" not in json.loads(request.content)
    return operation(request) == "iam:UpdateAccessKey"


@dataclass
class Changes:
    """What AWS was asked to change, over all runs; and where the next run is killed."""

    made: list[str] = field(default_factory=list)
    kill_at: str = ""
    process: "subprocess.Popen[str] | None" = None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()


@dataclass
class OnCall:
    """Runs the tool against a stack; `changes` are its own."""

    deployed: Sandbox
    environment: dict[str, str]
    changes: Changes

    def run(self, key_id: str, *arguments: str, kill_at: str = "") -> Run:
        """Run it with its output in a pipe."""
        self.changes.kill_at = kill_at
        arguments = ("leaked", "--key", key_id, "--stack", STACK, *arguments)
        with subprocess.Popen(
            [sys.executable, "-m", "infisical_rotation_triggers", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.deployed.stack.aws.environment, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            self.changes.process = process
            said, errors = process.communicate()
        return Run(process.returncode, said.splitlines(), errors)

    def run_killed(self, key_id: str, at: str) -> None:
        """Run it, killed before or after its next change."""
        assert self.run(key_id, kill_at=at).status < 0


_numbers = itertools.count()


@pytest.fixture(scope="module")
def rotations(deployed: Sandbox) -> list[Rotation]:
    """One rotation for each test that takes one, under a trigger of its user's name: the map is put only once."""
    rotations = [deployed.add_rotation(f"leaked-{number}") for number in range(5)]
    deployed.stack.put_map({"triggers": {rotation.name: rotation.id for rotation in rotations}})
    return rotations


@pytest.fixture
def rotation(rotations: list[Rotation]) -> Rotation:
    return rotations[next(_numbers)]


@pytest.fixture(scope="module")
def credentials(deployed: Sandbox) -> dict[str, str]:
    """Those of somebody who has the documented permissions."""
    iam = deployed.stack.iam
    iam.create_user(UserName="on-call")
    statements = [{"Effect": "Allow", "Action": actions, "Resource": on} for on, actions in DOCUMENTED.items()]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="on-call", PolicyName="leaked", PolicyDocument=policy)
    key = iam.create_access_key(UserName="on-call")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@pytest.fixture
def on_call(deployed: Sandbox, credentials: dict[str, str]) -> Iterator[OnCall]:
    changes = Changes()
    with ExitStack() as running:
        aws_url, iam_url = (
            running.enter_context(proxy(url, Watched(changes)))
            for url in (deployed.stack.aws.endpoint, deployed.iam_url)
        )
        environment = {
            **credentials,
            "AWS_ENDPOINT_URL": aws_url,
            "AWS_ENDPOINT_URL_IAM": iam_url,
            "PYTHONPATH": f"{ROOT}{os.pathsep}functions",
        }
        yield OnCall(deployed, environment, changes)


@pytest.fixture
def is_accepted(deployed: Sandbox) -> IsAccepted:
    """Whether STS accepts a pair of keys."""

    def ask(pair: Mapping[str, str]) -> bool:
        session = deployed.stack.aws.session(pair["accessKeyId"], pair["secretAccessKey"])
        try:
            session.client("sts", endpoint_url=deployed.stack.aws.endpoint).get_caller_identity()
        except ClientError:
            return False
        return True

    return ask


def age(deployed: Sandbox, rotation: Rotation, by: timedelta) -> None:
    """Let everything have happened that much earlier, also for `dispatch`, which reads the state for the tool."""
    deployed.age(rotation, by)
    deployed.stack.restart("DispatchFunction")


def test_documented_permissions_are_those_of_the_tests() -> None:
    section = (ROOT / "docs" / "runbook.md").read_text("utf-8").partition("## A key leaked")[2].partition("\n## ")[0]
    sentence = section.partition("You need ")[2].partition("\n\n")[0]

    assert set(re.findall(r"`(\w+:\w+)`", sentence)) == {
        action for actions in DOCUMENTED.values() for action in actions
    }


def test_a_published_key_is_rotated_once_and_deactivated_later(
    deployed: Sandbox, rotation: Rotation, on_call: OnCall, is_accepted: IsAccepted
) -> None:
    leaked = dict(rotation.published)
    key_id = leaked["accessKeyId"]
    deployed.use_key(key_id, datetime.now(UTC) - DAY)

    # killed before and after the rotation is requested
    on_call.run_killed(key_id, BEFORE)
    assert posts_for(deployed, rotation) == 0
    on_call.run_killed(key_id, AFTER)
    (end,) = outcomes_of(deployed, rotation)
    assert end["outcome"] == "rotated"

    # consumers get time to pick up the new key
    waiting = on_call.run(key_id)
    assert waiting.status == 3
    assert f"{key_id} of the IAM user {rotation.name}: active" in waiting.lines[0]
    assert waiting.lines[1].startswith("CloudTrail ")
    assert f"It is the previous key of the rotation {rotation.name}" in waiting.lines[2]
    assert waiting.lines[-2].startswith(f"{key_id} still works. Another key is published since")
    assert waiting.lines[-1].endswith(f"add --now {rotation.name} (make: NOW={rotation.name})")
    assert is_accepted(leaked)
    assert is_accepted(rotation.published)

    # killed before and after the key is deactivated
    age(deployed, rotation, DAY)
    on_call.run_killed(key_id, BEFORE)
    assert is_accepted(leaked)
    on_call.run_killed(key_id, AFTER)
    assert not is_accepted(leaked)
    done = on_call.run(key_id)

    assert (done.status, done.errors) == (0, "")
    assert done.lines[-1].startswith(f"{key_id} is inactive: AWS refuses it.")
    assert not is_accepted(leaked)
    assert is_accepted(rotation.published)
    assert posts_for(deployed, rotation) == 1
    assert on_call.changes.made == ["lambda:POST", "iam:UpdateAccessKey"]


def test_a_published_key_is_rotated_and_deactivated_in_one_run_if_the_user_is_named(
    deployed: Sandbox, rotation: Rotation, on_call: OnCall, is_accepted: IsAccepted
) -> None:
    leaked = dict(rotation.published)

    wrong = on_call.run(leaked["accessKeyId"], "--now", "somebody-else")
    assert (wrong.status, on_call.changes.made) == (1, [])
    run = on_call.run(leaked["accessKeyId"], "--now", rotation.name)

    assert (run.status, run.errors) == (0, "")
    assert not is_accepted(leaked)
    assert is_accepted(rotation.published)
    assert posts_for(deployed, rotation) == 1
    assert on_call.changes.made == ["lambda:POST", "iam:UpdateAccessKey"]


def test_a_previous_key_is_deactivated_at_once(
    deployed: Sandbox, rotation: Rotation, on_call: OnCall, is_accepted: IsAccepted
) -> None:
    leaked = dict(rotation.published)
    deployed.stack.send(scheduled(rotation.name))
    outcomes_of(deployed, rotation)
    age(deployed, rotation, WEEK)

    on_call.run_killed(leaked["accessKeyId"], BEFORE)
    assert is_accepted(leaked)
    on_call.run_killed(leaked["accessKeyId"], AFTER)
    run = on_call.run(leaked["accessKeyId"])

    assert run.status == 0
    assert run.lines[-1].endswith("The next rotation deletes the inactive key. Nothing is left to do")
    assert not is_accepted(leaked)
    assert is_accepted(rotation.published)
    assert (posts_for(deployed, rotation), on_call.changes.made) == (1, ["iam:UpdateAccessKey"])


def test_a_key_that_infisical_does_not_know_is_deactivated_and_blocks_rotations_until_it_is_deleted(
    deployed: Sandbox, rotation: Rotation, on_call: OnCall, is_accepted: IsAccepted
) -> None:
    made = deployed.iam.create_access_key(UserName=rotation.name)["AccessKey"]
    orphan = {"accessKeyId": made["AccessKeyId"], "secretAccessKey": made["SecretAccessKey"]}
    deployed.settle(rotation.name, orphan["accessKeyId"])

    # if the published key has leaked too, the orphan is named, and stops the rotation
    published = on_call.run(deployed.published_key(rotation))
    assert published.status == 3
    assert any(
        f"a second key that Infisical does not know: {orphan['accessKeyId']}" in line for line in published.lines
    )
    assert "A rotation is not possible now (OrphanKey)" in published.lines[-2]

    on_call.run_killed(orphan["accessKeyId"], BEFORE)
    assert is_accepted(orphan)
    on_call.run_killed(orphan["accessKeyId"], AFTER)
    run = on_call.run(orphan["accessKeyId"])

    assert run.status == 0
    assert any(line.startswith("Infisical does not know it") for line in run.lines)
    assert not is_accepted(orphan)
    assert is_accepted(rotation.published)
    assert (posts_for(deployed, rotation), on_call.changes.made) == (0, ["iam:UpdateAccessKey"])

    # and as the last line says
    command = re.search(r"aws iam delete-access-key --user-name (\S+) --access-key-id (\w+)", run.lines[-1])
    assert command is not None
    deployed.iam.delete_access_key(UserName=command[1], AccessKeyId=command[2])
    deployed.stack.send(scheduled(rotation.name))
    assert outcomes_of(deployed, rotation)[-1]["outcome"] == "rotated"


@pytest.mark.usefixtures("rotations")
def test_a_key_that_no_rotation_keeps_is_refused(deployed: Sandbox, on_call: OnCall) -> None:
    deployed.iam.create_user(UserName="nobodys")
    made = deployed.iam.create_access_key(UserName="nobodys")["AccessKey"]["AccessKeyId"]

    strangers = on_call.run(made)
    missing = on_call.run("AKIAIOSFODNN7EXAMPLE")

    assert (strangers.status, missing.status) == (1, 1)
    assert "no rotation of the map keeps that user's keys" in strangers.errors
    assert "IAM finds no key AKIAIOSFODNN7EXAMPLE in this account" in missing.errors
    assert on_call.changes.made == []


def test_a_key_is_only_deactivated_by_the_users_name_while_infisical_is_out_of_reach(
    deployed: Sandbox, rotation: Rotation, on_call: OnCall, is_accepted: IsAccepted
) -> None:
    deployed.infisical.faults.add_read(rotation.id, *[Dropped()] * 24)

    asked = on_call.run(deployed.published_key(rotation))
    assert asked.status == 3
    assert "deactivating it stops every consumer" in asked.lines[-2]
    assert "The stack cannot read a rotation of the map (Uncertain)" in asked.lines[-2]
    assert is_accepted(rotation.published)

    cut = on_call.run(deployed.published_key(rotation), "--now", rotation.name)

    assert cut.status == 3
    assert "its consumers are refused until another key is published" in cut.lines[-1]
    assert not is_accepted(rotation.published)
    assert on_call.changes.made == ["iam:UpdateAccessKey"]
