"""Two hundred rotations behind two selectors, while the worker is killed and Infisical fails, both at random.

Whatever was interrupted or failed: each rotation has happened once, or waits for a person with its reason. Half of them
have no key guard. One of these may also stay in the queue, claimed by a worker that was killed.
"""

import itertools
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import pytest

from rotator.rotation.attempt import Result
from rotator.rotation.reporting import METRICS
from tests.e2e.assertions import posts_for, scheduled
from tests.e2e.killing import interrupted_batches, killing, short_visibility, take_claimed, wait_until_quiet
from tests.sandbox.deployment import Deployment, embedded_metrics, wait_until
from tests.sandbox.sandbox import LONG_AGO, Sandbox
from tests.sandbox.standin.answers import Dropped, server_error
from tests.sandbox.standin.faults import (
    CommittedThenDropped,
    Dies,
    Fails,
    InProgress,
    Point,
    ReadFault,
    RotateFault,
    Slow,
)
from tests.sandbox.standin.limits import rate_limited
from tests.sandbox.standin.rotations import Rotation

pytestmark = pytest.mark.release

# Of the faults, and of the moments of the kills. What a kill hits is up to the machine, and different each time.
SEED = int(os.environ.get("KILL_SEED", "0"))

PROJECT, UNGUARDED_PROJECT = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0200", "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0201"
ROTATIONS, NAMED_TWICE = 100, 50
UNGUARDED = int(os.environ.get("KILL_UNGUARDED", "100"))
BACK_SECONDS = 3  # instead of 18 minutes; an attempt takes some hundredths of one
QUIET_SECONDS = 2 * BACK_SECONDS  # long enough for everything to return that returns
WAIT_SECONDS = 240


class Fault(NamedTuple):
    """What happens to the first call of `number` rotations, and how it has to end in spite of all kills.

    `posts` is how often rotate-secrets is sent. What is not `committed` waits for a person.
    """

    on_rotate: RotateFault | None = None
    on_read: ReadFault | None = None
    posts: int = 1
    number: int = 6
    committed: bool = True


# Together on more than half of the guarded rotations. A rate limit holds up all others; what is lost is watched until
# the next kill.
FAULTS = {
    "committed, then dropped": Fault(CommittedThenDropped()),
    "500 after the commit": Fault(Fails(Point.AFTER_COMMIT)),
    "failed before": Fault(Fails(Point.BEFORE), posts=2),
    "failed after the delete": Fault(Fails(Point.AFTER_DELETE), posts=2),
    "failed after the create": Fault(Fails(Point.AFTER_CREATE), number=4, committed=False),
    "in progress": Fault(InProgress(0)),
    "rate limited": Fault(rate_limited(1), posts=2, number=2),
    "lost without a trace": Fault(Dropped(), posts=2, number=2),
    "read: 500": Fault(on_read=server_error()),
    "read: dropped": Fault(on_read=Dropped()),
    "read: rate limited": Fault(on_read=rate_limited(1), number=2),
}
KINDS = FAULTS | {"healthy": Fault(number=ROTATIONS - sum(fault.number for fault in FAULTS.values()))}

# Of every fifty unguarded rotations. The last three have left no trace when a request without a claim would return.
UNGUARDED_FAULTS: list[RotateFault | None] = [
    *3 * [CommittedThenDropped()],
    *3 * [Fails(Point.AFTER_COMMIT)],
    *3 * [Fails(Point.BEFORE)],
    *3 * [Fails(Point.AFTER_DELETE)],
    *3 * [Fails(Point.AFTER_CREATE)],
    *3 * [InProgress(0)],
    Slow(2 * BACK_SECONDS),
    Dies(Point.BEFORE),
    Dies(Point.AFTER_CREATE),
]
UNGUARDED_KINDS = UNGUARDED_FAULTS + [None] * (50 - len(UNGUARDED_FAULTS))


class Load(NamedTuple):
    """`kinds` are those of `KINDS`; `published` are the keys from before, `commits` the moments, by rotation."""

    rotations: Sequence[Rotation]
    kinds: Mapping[str, str]
    published: Mapping[str, str]
    commits: Mapping[str, list[float]]
    named_twice: Collection[str]

    @property
    def requests(self) -> set[tuple[str, str]]:
        """Each trigger with each rotation that it stands for."""
        weekly = {("weekly", rotation.id) for rotation in self.rotations}
        return weekly | {("monthly", rotation_id) for rotation_id in self.named_twice}


class Unguarded(NamedTuple):
    """Rotations without key guard; `commits` are the moments, by rotation."""

    rotations: Sequence[Rotation]
    commits: Mapping[str, list[float]]


class Aftermath(NamedTuple):
    """How often the worker died in the middle of a batch, and what it left behind.

    `lines` and `failed` are in the logs and in FailedRotations.fifo. `claimed` are the rotations whose requests are
    still in RotationRequests.fifo.
    """

    interrupted: int
    lines: Sequence[dict[str, Any]]
    failed: Sequence[dict[str, Any]]
    claimed: set[str]


@pytest.fixture(scope="module")
def load(deployed: Sandbox) -> Load:
    random = Random(SEED)  # noqa: S311 - a fault is no secret
    kinds = [name for name, kind in KINDS.items() for _ in range(kind.number)]
    paths = ["/twice"] * NAMED_TWICE + ["/once"] * (ROTATIONS - NAMED_TWICE)
    random.shuffle(kinds)
    random.shuffle(paths)
    rotations = [_add_rotation(deployed, f"load-{number}", path) for number, path in enumerate(paths)]
    commits: dict[str, list[float]] = {rotation.id: [] for rotation in rotations}
    for rotation, kind in zip(rotations, kinds, strict=True):
        rotation.after_commit.append(commits[rotation.id].append)
        if on_rotate := KINDS[kind].on_rotate:
            deployed.infisical.faults.add(rotation.id, on_rotate)
        if on_read := KINDS[kind].on_read:
            deployed.infisical.faults.add_read(rotation.id, on_read)
    return Load(
        rotations,
        {rotation.id: kind for rotation, kind in zip(rotations, kinds, strict=True)},
        {rotation.id: deployed.published_key(rotation) for rotation in rotations},
        commits,
        {rotation.id for rotation in rotations if rotation.path == "/twice"},
    )


@pytest.fixture(scope="module")
def unguarded(deployed: Sandbox) -> Unguarded:
    rotations = [_add_rotation(deployed, f"bare-{number}", project=UNGUARDED_PROJECT) for number in range(UNGUARDED)]
    Random(SEED).shuffle(rotations)  # noqa: S311 - a fault is no secret
    commits: dict[str, list[float]] = {rotation.id: [] for rotation in rotations}
    for rotation, fault in zip(rotations, itertools.cycle(UNGUARDED_KINDS), strict=False):
        rotation.after_commit.append(commits[rotation.id].append)
        if fault:
            deployed.infisical.faults.add(rotation.id, fault)
    return Unguarded(rotations, commits)


def _add_rotation(deployed: Sandbox, name: str, path: str = "/", project: str = PROJECT) -> Rotation:
    """Create one as it is in the long run: its user has two keys, of which the older one goes next."""
    rotation = deployed.add_rotation(name, project_id=project, path=path)
    older = deployed.iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    deployed.iam_front.date(older, LONG_AGO - timedelta(days=7))
    return rotation


@pytest.fixture(scope="module")
def aftermath(deployed: Sandbox, load: Load, unguarded: Unguarded) -> Aftermath:
    """Two triggers, of which one stands for some of the other's rotations; it ends when only claimed requests wait."""
    stack = deployed.stack
    every: list[object] = [{"project": PROJECT}, {"project": UNGUARDED_PROJECT, "keyGuard": False}]
    stack.put_map({"triggers": {"weekly": every, "monthly": {"project": PROJECT, "path": "/twice"}}})
    stack.sqs.purge_queue(QueueUrl=stack.outputs["RotationRequestsUrl"])
    stack.take("FailedRotationsUrl")
    interrupted = interrupted_batches(stack)
    now = datetime.now(UTC)

    with short_visibility(stack, BACK_SECONDS) as claims:
        with killing(deployed, SEED):
            assert stack.invoke(scheduled("weekly", now))["requests"] == ROTATIONS + UNGUARDED
            assert stack.invoke(scheduled("monthly", now + timedelta(seconds=1)))["requests"] == NAMED_TWICE
            orphans = {request for request in load.requests if not KINDS[load.kinds[request[1]]].committed}
            wait_until("nothing but orphans", lambda: _waiting(stack, load) == orphans, WAIT_SECONDS)
            for rotation in load.rotations:
                if not KINDS[load.kinds[rotation.id]].committed:
                    (orphan,) = deployed.valid_keys(rotation.name) - {deployed.published_key(rotation)}
                    deployed.settle(rotation.name, orphan)
            wait_until("an end of all guarded requests", lambda: not _waiting(stack, load), WAIT_SECONDS)
            wait_until_quiet(deployed, QUIET_SECONDS, WAIT_SECONDS)
        interrupted = interrupted_batches(stack) - interrupted
        claimed = take_claimed(stack, claims)

    rotations = load.kinds.keys() | unguarded.commits.keys()
    lines = [line for line in stack.rotate_logs() if line.get("rotation_id") in rotations]
    seconds = (datetime.now(UTC) - now).total_seconds()
    ends = Counter(f"{line['outcome']} {line['reason']}" for line in lines if "outcome" in line)
    print(
        f"KILL_SEED={SEED}: {interrupted} batches interrupted in {seconds:.0f} s; {len(claimed)} claimed; {dict(ends)}"
    )
    return Aftermath(interrupted, lines, stack.take("FailedRotationsUrl"), claimed)


def _waiting(stack: Deployment, load: Load) -> set[tuple[str, str]]:
    """The guarded requests that have no end yet."""
    return load.requests - {(end["trigger"], end["rotation_id"]) for end in stack.outcomes() if not end["comes_back"]}


def test_the_worker_was_killed_in_the_middle_of_its_work(load: Load, aftermath: Aftermath) -> None:
    """Where little happens, nothing is proven."""
    ends = [line for line in aftermath.lines if "outcome" in line]
    told_twice = {
        load.kinds.get(end["rotation_id"])
        for end in ends
        if (end["trigger"], end["outcome"], end["reason"]) == ("weekly", "skipped", "AlreadyRotated")
    }

    assert aftermath.interrupted >= 5
    assert "healthy" in told_twice, "what was committed and not acknowledged comes back, and is recognised"


@pytest.mark.parametrize("kind", KINDS)
def test_each_rotation_happened_once_or_is_reported_for_an_operator(
    deployed: Sandbox, load: Load, aftermath: Aftermath, kind: str
) -> None:
    fault, waiting = KINDS[kind], {report["rotation_id"] for report in aftermath.failed}
    rotations = [rotation for rotation in load.rotations if load.kinds[rotation.id] == kind]
    found = {
        each.name: (len(load.commits[each.id]), posts_for(deployed, each), each.id in waiting) for each in rotations
    }

    expected = int(fault.committed), fault.posts, not fault.committed
    assert len(found) == fault.number
    assert {name: each for name, each in found.items() if each != expected} == {}


def test_a_rotation_without_key_guard_is_sent_and_committed_at_most_once(
    deployed: Sandbox, unguarded: Unguarded, aftermath: Aftermath
) -> None:
    assert aftermath.interrupted
    found = {each.name: (len(unguarded.commits[each.id]), posts_for(deployed, each)) for each in unguarded.rotations}

    assert len(found) == UNGUARDED
    assert {name: each for name, each in found.items() if max(each) > 1} == {}


def test_each_unguarded_request_is_rotated_reported_or_claimed(unguarded: Unguarded, aftermath: Aftermath) -> None:
    waiting = {report["rotation_id"] for report in aftermath.failed}
    rotated = {rotation_id for rotation_id, commits in unguarded.commits.items() if commits}

    assert unguarded.commits.keys() - rotated - waiting - aftermath.claimed == set()


def test_each_guarded_request_has_reached_an_outcome(load: Load, aftermath: Aftermath) -> None:
    ended = {
        (line["trigger"], line["rotation_id"])
        for line in aftermath.lines
        if "outcome" in line and not line["comes_back"]
    }

    assert {request for request in ended if request[1] in load.kinds} == load.requests


def test_each_failed_request_is_reported_once_with_reason_and_request(load: Load, aftermath: Aftermath) -> None:
    left = {rotation_id for rotation_id, kind in load.kinds.items() if not KINDS[kind].committed}
    failed = [report for report in aftermath.failed if report["rotation_id"] in load.kinds]
    reported = [(report["trigger"], report["rotation_id"]) for report in failed]

    assert sorted(reported) == sorted(request for request in load.requests if request[1] in left)
    for report in failed:
        assert (report["outcome"], report["reason"]) == ("refused", "OrphanKey")
        assert "aws iam delete-access-key" in report["explanation"]
        assert report["rotation_id"] in report["request"]


def test_every_reported_failure_was_counted(aftermath: Aftermath) -> None:
    counted = {
        (name, line["rotation_id"], line["trigger"]) for line in aftermath.lines for name in embedded_metrics(line)
    }

    assert aftermath.failed
    for report in aftermath.failed:
        assert (METRICS[Result(report["outcome"])], report["rotation_id"], report["trigger"]) in counted


def test_the_published_key_and_the_one_before_it_are_alive(deployed: Sandbox, load: Load) -> None:
    for rotation in load.rotations:
        before, now, alive = (
            load.published[rotation.id],
            deployed.published_key(rotation),
            deployed.valid_keys(rotation.name),
        )
        if KINDS[load.kinds[rotation.id]].committed:
            assert before != now
            assert alive == {before, now}, rotation.name
        else:
            assert before == now
            assert now in alive, rotation.name
