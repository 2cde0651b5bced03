"""A second stack in the same account: beside the first one, updated while it works and, at the end, deleted."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rotator.telemetry import NAMESPACE
from tests.e2e.assertions import outcomes_of, posts_for, scheduled
from tests.sandbox.deployment import (
    BUILT_TEMPLATE,
    Deployment,
    delete,
    deploy,
    embedded_metrics,
    prepare_update,
    wait_until,
)
from tests.sandbox.iam_front import lead_to_iam
from tests.sandbox.inventory import PARTS, inventory
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.faults import Slow
from tests.sandbox.standin.rotations import Rotation

pytestmark = pytest.mark.release

NewRotation = Callable[..., Rotation]

STACK = "second"
MAP_PARAMETER = "/second/map"
NEXT_RELEASE = "this is the next release"

# The attempt that an update meets takes so long, and its request would come back after that.
ATTEMPT_SECONDS = 8
BACK_SECONDS = 12

# What of an account no stack makes or deletes.
OF_THE_USER = {"parameters", "secrets"}


@pytest.fixture(scope="module")
def account(deployed: Sandbox) -> dict[str, set[str]]:
    """What there is in the account before the second stack."""
    return inventory(deployed.stack.aws)


@pytest.fixture(scope="module")
def second(deployed: Sandbox, account: dict[str, set[str]]) -> Sandbox:
    assert account
    identity = deployed.infisical.add_identity({"read", "rotate-secrets"}, allowed_principals=[])
    stack = deploy(
        deployed.stack.aws,
        STACK,
        InfisicalUrl=deployed.url,
        MachineIdentityId=identity.id,
        RotationMapParameter=MAP_PARAMETER,
        CustomEventSource=f"rotations-of-{STACK}",
    )
    identity.allowed_principals = [stack.outputs[f"{function}RoleArn"] for function in ("Dispatch", "Rotate", "Audit")]
    lead_to_iam(stack, deployed.iam_url)
    return replace(deployed, stack=stack)


def resources_of(stack: Deployment) -> dict[str, tuple[str, str]]:
    """Type and physical id of each of a stack's resources, by its logical id."""
    described = stack.cloudformation.describe_stack_resources(StackName=stack.stack)["StackResources"]
    return {each["LogicalResourceId"]: (each["ResourceType"], each["PhysicalResourceId"]) for each in described}


def test_two_stacks_share_no_physical_name(deployed: Sandbox, second: Sandbox) -> None:
    first, other = (resources_of(each.stack) for each in (deployed, second))
    common = first.keys() & other.keys()

    assert common == other.keys(), "the first one has the hook beside all of these"
    assert {name for name in common if first[name][1] == other[name][1]} == set()


def test_a_trigger_of_one_stack_rotates_nothing_of_the_other(
    deployed: Sandbox, second: Sandbox, new_rotation: NewRotation
) -> None:
    ours, theirs = new_rotation(), new_rotation()
    deployed.stack.put_map({"triggers": {"weekly": ours.id}})
    second.stack.put_map({"triggers": {"weekly": theirs.id}})

    second.stack.send(scheduled())
    assert [end["outcome"] for end in outcomes_of(second, theirs)] == ["rotated"]
    assert (posts_for(deployed, ours), posts_for(second, theirs)) == (0, 1)

    deployed.stack.send(scheduled())
    assert [end["outcome"] for end in outcomes_of(deployed, ours)] == ["rotated"]
    assert (posts_for(deployed, ours), posts_for(second, theirs)) == (1, 1)

    # and each counts under its own name
    for stack in (deployed.stack, second.stack):
        lines = stack.dispatch_logs() + stack.rotate_logs()
        assert {line["service"] for line in lines if embedded_metrics(line)} == {stack.stack}


def test_a_custom_event_means_the_stack_whose_source_it_names(deployed: Sandbox, second: Sandbox) -> None:
    def means(stack: Deployment, source: str) -> bool:
        name = stack.resources("AWS::Events::Rule")["DispatchFunctionCustomEvents"].rsplit("|", 1)[-1]
        event = {
            "id": "1",
            "account": "123456789012",
            "region": "us-east-1",
            "time": "2026-11-16T05:00:00Z",
            "resources": [],
            "source": source,
            "detail-type": "Rotation Requested",
            "detail": {"trigger": "weekly"},
        }
        pattern = stack.events.describe_rule(Name=name)["EventPattern"]
        return stack.events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]

    stacks, sources = (deployed.stack, second.stack), ("rotations", f"rotations-of-{STACK}")
    assert [[means(stack, source) for source in sources] for stack in stacks] == [[True, False], [False, True]]


def test_alarms_name_their_stack(deployed: Sandbox, second: Sandbox) -> None:
    first, other = (watched_by(each.stack) for each in (deployed, second))

    assert len(other) > 10
    assert first & other == set()
    for stack, watched in ((deployed.stack, first), (second.stack, other)):
        services = {dict(dimensions)["service"] for namespace, _, dimensions in watched if namespace == NAMESPACE}
        assert services == {stack.stack}


def watched_by(stack: Deployment) -> set[tuple[str, str, frozenset[tuple[str, str]]]]:
    """Namespace, name and dimensions of the metrics that a stack's alarms watch."""
    names = stack.resources("AWS::CloudWatch::Alarm").values()
    alarms = stack.aws.client("cloudwatch").describe_alarms(AlarmNames=list(names))["MetricAlarms"]
    return {
        (each["Namespace"], each["MetricName"], frozenset((name["Name"], name["Value"]) for name in each["Dimensions"]))
        for each in alarms
    }


def test_an_update_loses_nothing_that_is_worked_or_waits(
    second: Sandbox, new_rotation: NewRotation, tmp_path: Path
) -> None:
    """AWS lets what is running end; the embedded one kills it, which is worse: nobody then knows what it has done."""
    stack = second.stack
    busy, *others = (new_rotation() for _ in range(3))
    # An update takes away what leads the functions to the sandbox's IAM, so that the key guard would refuse.
    entries = [{"id": rotation.id, "keyGuard": False} for rotation in (busy, *others)]
    stack.put_map({"triggers": {"busy": entries[0], "weekly": entries}})
    update = prepare_update(stack, next_release(tmp_path), LogLevel="DEBUG")
    resources = resources_of(stack)
    attributes: Any = {"VisibilityTimeout": str(BACK_SECONDS)}
    stack.sqs.set_queue_attributes(QueueUrl=stack.outputs["RotationRequestsUrl"], Attributes=attributes)

    # given an attempt under way, and requests that wait: one for the same rotation, and two for others
    second.infisical.faults.add(busy.id, Slow(ATTEMPT_SECONDS))
    stack.send(scheduled("busy"))
    wait_until("the attempt", lambda: posts_for(second, busy))
    stack.send(scheduled())
    wait_until("requests that wait", lambda: stack.depth("RotationRequestsUrl") == 1 + len(entries))
    assert [posts_for(second, rotation) for rotation in others] == [0, 0]
    assert NEXT_RELEASE not in stack.raw_logs()

    # when other code and another parameter arrive
    update()

    # then what waited is rotated by the new code, and nothing was replaced
    assert [end["outcome"] for end in outcomes_of(second, *others)] == ["rotated", "rotated"]
    assert [posts_for(second, rotation) for rotation in others] == [1, 1]
    assert NEXT_RELEASE in stack.raw_logs()
    assert resources_of(stack) == resources
    # and the attempt that was cut off is not made again: without key guard its request waits, with the one behind it
    assert posts_for(second, busy) == 1
    assert stack.depth("RotationRequestsUrl") == 1 + len(entries)
    assert stack.depth("FailedRotationsUrl") == 0
    stack.sqs.purge_queue(QueueUrl=stack.outputs["RotationRequestsUrl"])


def next_release(folder: Path) -> Path:
    """Copy what was built, with other code; return its template."""
    built = folder / "build"
    shutil.copytree(BUILT_TEMPLATE.parent, built, ignore=shutil.ignore_patterns("__pycache__"))
    with (built / "RotateFunction" / "rotate.py").open("a") as code:
        code.write(f'\nprint("{NEXT_RELEASE}")\n')
    return built / BUILT_TEMPLATE.name


def test_deleting_a_stack_leaves_nothing_but_what_is_its_users(second: Sandbox, account: dict[str, set[str]]) -> None:
    """Nothing can be tested of the stack after this."""
    stack = second.stack
    stack.put_map({"triggers": {}})
    made, there, artifacts = resources_of(stack).values(), inventory(stack.aws), artifacts_of(stack)
    unseen = [each for each in made if not any(each[1].endswith(name) for name in there.get(each[0], ()))]
    assert {kind for kind, _ in unseen} == PARTS, "everything else is seen while it is there"
    assert artifacts[STACK]

    delete(stack)

    after = inventory(stack.aws)
    kept = {kind: there[kind] for kind in OF_THE_USER}
    assert MAP_PARAMETER in kept["parameters"]
    assert after == account | kept
    assert artifacts_of(stack) == {name: keys for name, keys in artifacts.items() if name != STACK}


def artifacts_of(stack: Deployment) -> dict[str, set[str]]:
    """What `sam` has put into its bucket, by the stack that it is for."""
    s3 = stack.aws.client("s3")
    (bucket,) = (each["Name"] for each in s3.list_buckets()["Buckets"])
    artifacts: dict[str, set[str]] = {}
    for each in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        artifacts.setdefault(each["Key"].partition("/")[0], set()).add(each["Key"])
    return artifacts
