"""Every fault of Infisical, all at once, each on a rotation of its own.

The ones that say nothing are watched until the function's time is up.
"""

from typing import Any, NamedTuple

from tests.e2e.assertions import outcomes_of, posts_for, scheduled
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
FUNCTION_SECONDS = 142  # 110 for an attempt, 28 for reporting, and the first read

ACKNOWLEDGED, FAILED, BACK = "acknowledged", "in FailedRotations.fifo", "back in RotationRequests.fifo"
AGAIN = "soon back, and rotated then"


# Worked after all others: it holds up whatever is worked beside it.
LIMITED = "rate limited"


class Case(NamedTuple):
    fault: RotateFault | None
    end: tuple[str, str]
    place: str
    posts: int = 1
    guarded: bool = True


# The first ten make one batch, and the slow ones are among them.
CASES = {
    "died before": Case(Dies(Point.BEFORE), ("unconfirmed", "Uncertain"), BACK),
    "died after the delete": Case(Dies(Point.AFTER_DELETE), ("unconfirmed", "Uncertain"), BACK),
    "died after the create": Case(Dies(Point.AFTER_CREATE), ("unconfirmed", "Uncertain"), BACK),
    "died after the create, without key guard": Case(
        Dies(Point.AFTER_CREATE), ("unconfirmed", "Uncertain"), FAILED, guarded=False
    ),
    "500 without a trace": Case(server_error(), ("unconfirmed", "Uncertain"), BACK),
    "in progress without end": Case(rotation_in_progress(), ("deferred", "RotationInProgress"), BACK),
    "closed at the limit, committed later": Case(Slow(34), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "committed, then dropped": Case(CommittedThenDropped(), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "500 after the commit": Case(Fails(Point.AFTER_COMMIT), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "failed before": Case(Fails(Point.BEFORE), ("failed", "AttemptFailed"), BACK),
    "failed after the delete": Case(Fails(Point.AFTER_DELETE), ("failed", "AttemptFailed"), BACK),
    "failed after the create": Case(Fails(Point.AFTER_CREATE), ("failed", "AttemptFailed"), BACK),
    "in progress": Case(InProgress(3), ("rotated", "Confirmed"), ACKNOWLEDGED),
    "lost lock race": Case(LockRace(3), ("failed", "AttemptFailed"), BACK),
    "failed before, without key guard": Case(Fails(Point.BEFORE), ("failed", "AttemptFailed"), FAILED, guarded=False),
    "failed after the create, without key guard": Case(
        Fails(Point.AFTER_CREATE), ("failed", "AttemptFailed"), FAILED, guarded=False
    ),
    "plan restriction": Case(plan_restriction(), ("deferred", "PlanRestricted"), BACK),
    "slow": Case(Slow(2), ("rotated", "Rotated"), ACKNOWLEDGED),
    "denied": Case(None, ("failed", "Rejected"), FAILED, posts=0),
    "healthy": Case(None, ("rotated", "Rotated"), ACKNOWLEDGED),
    LIMITED: Case(rate_limited(1), ("deferred", "RateLimited"), AGAIN, posts=2),
}


class Run(NamedTuple):
    rotations: dict[str, Rotation]
    ends: dict[str, dict[str, Any]]
    failed: dict[str, dict[str, Any]]
    in_flight: int  # messages in RotationRequests.fifo at the end
    waiting: int
    before: dict[str, float]
    after: dict[str, float]


def run_all(deployed: Sandbox) -> Run:
    """Cause them, return how they ended, and put everything back."""
    stack, faults = deployed.stack, deployed.infisical.faults
    busy = deployed.add_rotation("faults-busy")
    rotations = {name: deployed.add_rotation("faults-" + name.replace(" ", "-").replace(",", "")) for name in CASES}
    deployed.identity.projects = {busy.project_id}
    rotations["denied"].project_id = "a-project-of-others"
    for name, case in CASES.items():
        if case.fault:
            faults.add(rotations[name].id, case.fault)
    limited = rotations[LIMITED]
    others = [rotation for name, rotation in rotations.items() if name != LIMITED]
    entries = [
        rotations[name].id if case.guarded else {"id": rotations[name].id, "keyGuard": False}
        for name, case in CASES.items()
        if name != LIMITED
    ]
    stack.put_map({"triggers": {"busy": busy.id, "weekly": entries, "limited": limited.id}})
    function = stack.resources("AWS::Lambda::Function")["RotateFunction"]
    template_seconds = stack.lambda_.get_function_configuration(FunctionName=function)["Timeout"]
    stack.lambda_.update_function_configuration(FunctionName=function, Timeout=FUNCTION_SECONDS)
    before = stack.metrics()

    # The long ones are worked in one batch: a busy worker lets the requests gather.
    faults.add(busy.id, Slow(3))
    stack.send(scheduled("busy"))
    wait_until("the busy worker", lambda: posts_for(deployed, busy))
    stack.send(scheduled("weekly"))
    outcomes_of(deployed, *others, seconds=240)
    stack.send(scheduled("limited"))
    outcomes_of(deployed, limited, count=2)
    ends = {end["rotation_id"]: end for end in reversed(outcomes_of(deployed, *rotations.values()))}
    outcomes_of(deployed, busy)

    after = stack.metrics()
    failed = {message["rotation_id"]: message for message in stack.take("FailedRotationsUrl")}
    requests = stack.sqs.get_queue_attributes(QueueUrl=stack.outputs["RotationRequestsUrl"], AttributeNames=["All"])[
        "Attributes"
    ]
    deployed.identity.projects = None
    stack.lambda_.update_function_configuration(FunctionName=function, Timeout=template_seconds)
    stack.sqs.purge_queue(QueueUrl=stack.outputs["RotationRequestsUrl"])
    named = {name: ends[each.id] for name, each in rotations.items()}
    return Run(
        rotations,
        named,
        failed,
        int(requests["ApproximateNumberOfMessagesNotVisible"]),
        int(requests["ApproximateNumberOfMessages"]),
        before,
        after,
    )
