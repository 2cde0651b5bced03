"""The templates of examples/, deployed beside the stack: a member account, and a schedule and a rule of one's own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.assertions import outcomes_of, scheduled
from tests.sandbox.accounts import OTHER_ACCOUNT
from tests.sandbox.deployment import deploy_template
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.rotations import Rotation

pytestmark = pytest.mark.release


def copy_of(name: str, folder: Path) -> Path:
    return Path(shutil.copy(ROOT / "examples" / name, folder / "template.yaml"))


def test_the_member_accounts_role_lets_the_key_guard_look_there(
    deployed: Sandbox, new_rotation: Callable[..., Rotation]
) -> None:
    trusted = [deployed.stack.outputs[f"{name}RoleArn"] for name in ("Dispatch", "Rotate", "Hook", "Audit")]
    parameters = {"TrustedRoleArns": ",".join(trusted), "RoleName": "key-guard-member", "ExternalId": "hub-1"}
    client = deployed.stack.aws.session(OTHER_ACCOUNT).client(
        "cloudformation", endpoint_url=deployed.stack.aws.environment["AWS_ENDPOINT_URL"]
    )
    client.create_stack(
        StackName="member",
        TemplateBody=(ROOT / "examples" / "member-account.yaml").read_text("utf-8"),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    client.get_waiter("stack_create_complete").wait(StackName="member", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    (output,) = client.describe_stacks(StackName="member")["Stacks"][0]["Outputs"]
    role = output["OutputValue"]
    assert role == f"arn:aws:iam::{OTHER_ACCOUNT}:role/key-guard-member"
    rotation = new_rotation(account=OTHER_ACCOUNT)

    def end_with(guard: dict[str, str], count: int) -> dict[str, Any]:
        deployed.stack.put_map({"triggers": {"weekly": {"id": rotation.id, "keyGuard": guard}}})
        deployed.stack.send(scheduled())
        return outcomes_of(deployed, rotation, count=count)[-1]

    assert end_with({"role": role}, 1)["reason"] == "KeysUnreadable"  # without the external id
    assert end_with({"role": role, "externalId": "hub-1"}, 2)["outcome"] == "rotated"
    deployed.stack.take("FailedRotationsUrl")


def test_a_schedule_of_ones_own_names_a_trigger(deployed: Sandbox, rotation: Rotation, tmp_path: Path) -> None:
    parameters = {"DispatchFunctionArn": deployed.stack.outputs["DispatchFunctionArn"], "Trigger": "monthly"}
    own = deploy_template(
        deployed.stack.aws, "own-schedule", copy_of("custom-schedule/template.yaml", tmp_path), parameters
    )
    schedule = deployed.stack.aws.client("scheduler").get_schedule(Name=own.outputs["ScheduleName"])
    (target,) = deployed.stack.aws.client("events").list_targets_by_rule(Rule="daily")["Targets"]

    assert schedule["Target"]["Arn"] == target["Arn"] == parameters["DispatchFunctionArn"]
    assert schedule["Target"]["DeadLetterConfig"]["Arn"] == target["DeadLetterConfig"]["Arn"]
    event = schedule["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", scheduled()["scheduledTime"])
    deployed.stack.send(json.loads(event))
    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["trigger"]) == ("rotated", "monthly")
