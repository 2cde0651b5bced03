"""Every fault of Infisical on the deployed stack: what the operator sees, and where the request ends.

All at once, each on a rotation of its own: the ones that say nothing are watched until the function's time is up.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rotator.telemetry import Metric
from rotator.worker import METRICS
from tests.e2e.looks import delta, outcomes_of, posts_for, scheduled
from tests.sandbox.deployment import wait_until
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.answers import server_error
from tests.sandbox.standin.faults import (
    CommittedThenDropped,
    Dies,
    Fails,
    InProgress,
    LockRace,
    Point,
    RotateFault,
    Slow,
    plan_restriction,
    rotation_in_progress,
)
from tests.sandbox.standin.limits import rate_limited
from tests.sandbox.standin.rotations import Rotation

# Just enough for one attempt, so that the test does not wait for the three minutes of the template.
FUNCTION_SECONDS = 120

ACKNOWLEDGED, FAILED, BACK = "acknowledged", "in FailedRotations.fifo", "back in RotationRequests.fifo"


class Case(NamedTuple):
    fault: RotateFault | None
    end: tuple[str, str]
    place: str
    posts: int = 1


CASES = {
    "died before": Case(Dies(Point.BEFORE), ("unconfirmed", "Uncertain"), FAILED),
    "died after the delete": Case(Dies(Point.AFTER_DELETE), ("unconfirmed", "Uncertain"), FAILED),
    "died after the create": Case(Dies(Point.AFTER_CREATE), ("unconfirmed", "Uncertain"), FAILED),
    "500 without a trace": Case(server_error(), ("unconfirmed", "Uncertain"), FAILED),
    "in progress without end": Case(rotation_in_progress(), ("deferred", "RotationInProgress"), BACK),
    "closed at the limit, committed later": Case(Slow(34), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "committed, then dropped": Case(CommittedThenDropped(), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "500 after the commit": Case(Fails(Point.AFTER_COMMIT), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "failed before": Case(Fails(Point.BEFORE), ("failed", "AttemptFailed"), FAILED),
    "failed after the delete": Case(Fails(Point.AFTER_DELETE), ("failed", "AttemptFailed"), FAILED),
    "failed after the create": Case(Fails(Point.AFTER_CREATE), ("failed", "AttemptFailed"), FAILED),
    "in progress": Case(InProgress(3), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "lost lock race": Case(LockRace(3), ("failed", "AttemptFailed"), FAILED),
    "rate limited": Case(rate_limited(1), ("rotated", "Rotated"), ACKNOWLEDGED, posts=2),
    "plan restriction": Case(plan_restriction(), ("failed", "BadRequest"), FAILED),
    "slow": Case(Slow(2), ("rotated", "Rotated"), ACKNOWLEDGED),
    "denied": Case(None, ("failed", "Rejected"), FAILED, posts=0),
}


class Run(NamedTuple):
    rotations: dict[str, Rotation]
    ends: dict[str, dict[str, Any]]
    failed: dict[str, dict[str, Any]]
    before: dict[str, float]
    after: dict[str, float]


@pytest.fixture(scope="module")
def run(deployed: Sandbox) -> Iterator[Run]:
    stack, faults = deployed.stack, deployed.infisical.faults
    busy = deployed.add_rotation("faults-busy")
    rotations = {name: deployed.add_rotation("faults-" + name.replace(" ", "-").replace(",", "")) for name in CASES}
    deployed.identity.projects = {busy.project_id}
    rotations["denied"].project_id = "a-project-of-others"
    for name, case in CASES.items():
        if case.fault:
            faults.add(rotations[name].id, case.fault)
    stack.put_map({"triggers": {"busy": busy.id, "weekly": [each.id for each in rotations.values()]}})
    function = stack.resources("AWS::Lambda::Function")["RotateFunction"]
    template_seconds = stack.lambda_.get_function_configuration(FunctionName=function)["Timeout"]
    stack.lambda_.update_function_configuration(FunctionName=function, Timeout=FUNCTION_SECONDS)
    before = stack.metrics()

    # The long ones are worked in one batch: a busy worker lets the requests gather.
    faults.add(busy.id, Slow(3))
    stack.send(scheduled("busy"))
    wait_until("the busy worker", lambda: posts_for(deployed, busy))
    stack.send(scheduled("weekly"))
    ends = {end["rotation_id"]: end for end in outcomes_of(deployed, *rotations.values(), seconds=240)}
    outcomes_of(deployed, busy)

    after = stack.metrics()
    failed = {message["rotation_id"]: message for message in stack.take("FailedRotationsUrl")}
    yield Run(rotations, {name: ends[each.id] for name, each in rotations.items()}, failed, before, after)
    deployed.identity.projects = None
    stack.lambda_.update_function_configuration(FunctionName=function, Timeout=template_seconds)
    stack.sqs.purge_queue(QueueUrl=stack.outputs["RotationRequestsUrl"])


@pytest.mark.parametrize("name", CASES)
def test_the_operator_sees(run: Run, name: str) -> None:
    end = run.ends[name]

    assert (end["outcome"], end["reason"]) == CASES[name].end
    assert end["explanation"] or end["reason"] == "Rotated"
    assert end["correlation_id"]


@pytest.mark.parametrize("name", CASES)
def test_the_request_ends(run: Run, name: str) -> None:
    rotation_id = run.rotations[name].id

    if CASES[name].place == FAILED:
        assert run.failed[rotation_id]["explanation"] == run.ends[name]["explanation"]
    else:
        assert rotation_id not in run.failed


@pytest.mark.parametrize("name", CASES)
def test_rotate_secrets_is_not_repeated(deployed: Sandbox, run: Run, name: str) -> None:
    assert posts_for(deployed, run.rotations[name]) == CASES[name].posts


def test_what_came_back_is_invisible_for_the_full_time(deployed: Sandbox, run: Run) -> None:
    back = [name for name, case in CASES.items() if case.place == BACK]

    attributes = deployed.stack.sqs.get_queue_attributes(
        QueueUrl=deployed.stack.outputs["RotationRequestsUrl"], AttributeNames=["All"]
    )["Attributes"]

    assert run.ends["in progress without end"]["outcome"] == "deferred"
    assert int(attributes["ApproximateNumberOfMessagesNotVisible"]) == len(back)
    assert int(attributes["ApproximateNumberOfMessages"]) == 0


@pytest.mark.parametrize("metric", sorted(set(METRICS.values())))
def test_each_end_is_counted(run: Run, metric: Metric) -> None:
    expected = Counter(METRICS[result] for result in METRICS for case in CASES.values() if case.end[0] == result)
    expected[Metric.ROTATION_SUCCEEDED] += 1  # the busy one

    assert delta(run.before, run.after, metric) == expected[metric]


def test_published_keys_live_where_nothing_was_lost_without_a_trace(deployed: Sandbox, run: Run) -> None:
    """The exceptions are why the key guard is needed: an attempt that deleted or created, and could not tell."""
    unlucky = {name for name in CASES if "after the" in name and name != "500 after the commit"}

    for name in CASES.keys() - unlucky:
        rotation = run.rotations[name]
        assert deployed.published_key(rotation) in deployed.valid_keys(rotation.name), name
