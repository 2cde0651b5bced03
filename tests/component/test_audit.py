"""The audit: whoever stops rotating, fails, or rotates beside us, is told of."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from botocore.exceptions import ClientError

from audit import Audit
from rotator.dry_run.findings import check
from rotator.dry_run.key_watch import KeyWatch
from rotator.dry_run.mirror_watch import MirrorWatch, as_an_object
from rotator.infisical.client import Infisical
from rotator.model import RotationState
from rotator.telemetry import Metric, Telemetry
from rotator.triggers.rotation_map import RotationMapError
from tests.component.iam import refused
from tests.component.world import START, World
from tests.sandbox.standin.faults import Fails, Point
from tests.sandbox.standin.rotations import Rotation
from tests.unit.fakes import FakeEventBus, described

UNKNOWN = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror/deployer-AbCdEf"
DAY = 86_400


class FakeHook:
    """Lambda with the hook behind it: one answer a call, the last one for all that follow."""

    def __init__(self, world: World, *answers: "dict[str, Any] | Exception") -> None:
        self.world = world
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any], float]] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self.asked.append((FunctionName, json.loads(Payload), self.world.clock.time() - START.timestamp()))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        failed = {"FunctionError": "Unhandled"} if "errorMessage" in answer else {}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), **failed}


class Observer:
    """An audit of a world by a map, and what it says."""

    def __init__(
        self,
        world: World,
        rotation_map: object,
        maximum_age: timedelta = timedelta(days=35),
        hook: "FakeHook | None" = None,
    ) -> None:
        self.logs = io.StringIO()
        telemetry = Telemetry(str(uuid4()), "INFO", self.logs)  # loggers of one name share their stream
        self.bus = FakeEventBus()
        lambda_: Any = hook or FakeHook(world)
        self.world = world
        self.audit = Audit(
            read_map=lambda: rotation_map if isinstance(rotation_map, str) else json.dumps(rotation_map),
            infisical=world.infisical,
            maximum_age=maximum_age,
            keys=KeyWatch(world.iam.open, world.clock),
            mirrors=MirrorWatch(lambda_, "" if hook is None else "stack-HookFunction", world.clock),
            events=self.bus.events(telemetry),
            telemetry=telemetry,
            clock=world.clock,
        )

    def look(self) -> dict[str, float]:
        return self.audit.handle({}, "correlation")

    def lines(self, message: str) -> Iterator[dict[str, Any]]:
        for line in map(json.loads, self.logs.getvalue().splitlines()):
            if line.get("message") == message:
                yield line


@pytest.fixture
def world() -> World:
    return World()


def another(world: World, age_days: float = 1, **fields: Any) -> Rotation:  # noqa: ANN401 - the stand-in's
    at = START - timedelta(days=age_days)
    fields = {"is_auto_rotation_enabled": False, **fields}
    return world.server.add_rotation(user_name=f"user-{len(world.server.rotations)}", last_rotated_at=at, **fields)


def test_audit_of_healthy_rotations_emits_metrics_and_logs_nothing(world: World) -> None:
    observer = Observer(world, {"triggers": {"weekly": another(world, 7).id}})

    assert observer.look() == {
        Metric.ROTATIONS_WATCHED: 1,
        Metric.OVERDUE_ROTATIONS: 0,
        Metric.ROTATIONS_IN_FAILED_STATE: 0,
        Metric.AUTO_ROTATION_ENABLED: 0,
        Metric.UNREADABLE_ROTATIONS: 0,
        Metric.LAGGING_MIRRORS: 0,
        Metric.SHARED_USERS: 0,
        Metric.INACTIVE_PUBLISHED_KEYS: 0,
        Metric.OLDEST_ROTATION_AGE: 7 * DAY,
        Metric.OLDEST_ACTIVE_KEY_AGE: 7,
    }
    assert list(observer.lines("rotation needs attention")) == []


def test_an_inactive_published_key_is_reported_with_the_command_that_reactivates_it(world: World) -> None:
    rotation = another(world, 7)
    published = rotation.published["accessKeyId"]
    world.iam.inactive.add(published)
    observer = Observer(world, {"triggers": {"weekly": rotation.id}})

    assert observer.look()[Metric.INACTIVE_PUBLISHED_KEYS] == 1

    (line,) = observer.lines("rotation needs attention")
    assert line["remarks"] == ["published key inactive"]
    assert line["next_step"] == (
        f"aws iam update-access-key --user-name user-1 --access-key-id {published} --status Active"
    )


def test_an_inactive_previous_key_is_no_issue_and_has_no_age(world: World) -> None:
    rotation = another(world, 7)
    previous, _ = world.keys.create_access_key("user-1", (START - timedelta(days=14)).timestamp())
    observer = Observer(world, {"triggers": {"weekly": rotation.id}})

    assert observer.look()[Metric.OLDEST_ACTIVE_KEY_AGE] == 14

    world.iam.inactive.add(previous)

    metrics = observer.look()
    assert (metrics[Metric.INACTIVE_PUBLISHED_KEYS], metrics[Metric.OLDEST_ACTIVE_KEY_AGE]) == (0, 7)
    assert list(observer.lines("rotation needs attention")) == []


def test_keys_that_iam_does_not_show_count_as_unreadable_and_hide_nothing_else(world: World) -> None:
    rotation = another(world, 36)
    world.iam.down = refused("AccessDenied", "not authorized", "ListAccessKeys")
    observer = Observer(world, {"triggers": {"weekly": rotation.id}})

    metrics = observer.look()

    assert (metrics[Metric.UNREADABLE_ROTATIONS], metrics[Metric.OVERDUE_ROTATIONS]) == (1, 1)
    (line,) = observer.lines("keys unreadable")
    assert (line["rotation_id"], "user-1" in line["explanation"]) == (rotation.id, True)


def test_audit_lists_no_keys_of_unguarded_rotations(world: World) -> None:
    observer = Observer(world, {"triggers": {"weekly": {"id": another(world).id, "keyGuard": False}}})

    observer.look()

    assert world.iam.calls == []


def test_an_overdue_rotation_is_named_with_its_age_and_limit(world: World) -> None:
    stale = another(world, 36, name="stale")
    observer = Observer(world, {"triggers": {"weekly": [stale.id, another(world).id]}})

    metrics = observer.look()

    assert (metrics[Metric.OVERDUE_ROTATIONS], metrics[Metric.OLDEST_ROTATION_AGE]) == (1, 36 * DAY)
    (line,) = observer.lines("rotation needs attention")
    assert (line["rotation_name"], line["remarks"], line["age_days"], line["limit_days"]) == (
        "stale",
        ["overdue"],
        36,
        35,
    )


@pytest.mark.parametrize(("age", "limit", "overdue"), [(9, "8 days", 1), (40, "41 days", 0), (8, "8 days", 0)])
def test_a_map_entry_overrides_the_maximum_age(world: World, age: int, limit: str, overdue: int) -> None:
    entry = {"id": another(world, age).id, "maximumAge": limit}

    assert Observer(world, {"triggers": {"weekly": entry}}).look()[Metric.OVERDUE_ROTATIONS] == overdue


def test_audit_checks_each_rotation_once_by_its_strictest_limit(world: World) -> None:
    project = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0001"
    rotations = [another(world, 10, project_id=project) for _ in range(3)]
    observer = Observer(
        world,
        {
            "triggers": {"weekly": {"project": project}, "daily": {"id": rotations[0].id, "maximumAge": "2 days"}},
            "mirrors": {ARN: rotations[1].id},
        },
        hook=FakeHook(world, IN_STEP),
    )

    metrics = observer.look()

    assert (metrics[Metric.ROTATIONS_WATCHED], metrics[Metric.OVERDUE_ROTATIONS]) == (3, 1)


def test_rotations_that_share_an_iam_user_are_counted_and_name_each_other(world: World) -> None:
    first, second = (world.server.add_rotation(user_name="shared", last_rotated_at=START) for _ in range(2))
    ids = [first.id, second.id, another(world).id]
    observer = Observer(world, {"triggers": {"weekly": ids, "daily": first.id}})

    assert observer.look()[Metric.SHARED_USERS] == 2
    told = {
        line["rotation_id"]: line["shares_user_with"]
        for line in observer.lines("rotation needs attention")
        if "shares its IAM user" in line["remarks"]
    }
    assert told == {first.id: [second.id], second.id: [first.id]}


def test_users_of_one_name_are_shared_only_by_the_same_connection() -> None:
    def state(rotation_id: str, connection_id: str | None, user_name: str | None) -> RotationState:
        return RotationState(rotation_id, "", "", START, START, None, user_name=user_name, connection_id=connection_id)

    users = [("c1", "deployer"), ("c1", "deployer"), ("c2", "deployer"), (None, "deployer"), (None, "deployer")]
    states = [state(str(number), *user) for number, user in enumerate([*users, ("c1", None), ("c1", None)])]

    findings = check([(each, timedelta(days=1)) for each in states], START, keys={})

    assert [finding.shares_user_with for finding in findings] == [("1",), ("0",), (), (), (), (), ()]


def test_a_failed_rotation_is_reported_in_infisicals_words(world: World) -> None:
    rotation = another(world, 7)
    world.server.faults.add(rotation.id, Fails(Point.BEFORE, message="no such luck"))
    world.ensure(world.request(rotation=rotation))
    observer = Observer(world, {"triggers": {"weekly": rotation.id}})

    assert observer.look()[Metric.ROTATIONS_IN_FAILED_STATE] == 1
    (line,) = observer.lines("rotation needs attention")
    assert line["remarks"] == ["failed"]
    assert "no such luck" in line["explanation"]


def test_auto_rotation_by_infisical_is_reported(world: World) -> None:
    observer = Observer(world, {"triggers": {"weekly": another(world, is_auto_rotation_enabled=True).id}})

    assert observer.look()[Metric.AUTO_ROTATION_ENABLED] == 1
    assert [line["remarks"] for line in observer.lines("rotation needs attention")] == [["rotates itself"]]


def test_audit_counts_an_unreadable_rotation_and_goes_on(world: World) -> None:
    observer = Observer(
        world, {"triggers": {"weekly": [UNKNOWN, {"project": UNKNOWN}, another(world, 36).id], "other": [UNKNOWN]}}
    )

    metrics = observer.look()

    assert (metrics[Metric.UNREADABLE_ROTATIONS], metrics[Metric.ROTATIONS_WATCHED]) == (2, 1)
    assert metrics[Metric.OVERDUE_ROTATIONS] == 1
    assert len(list(observer.lines("rotation unreadable"))) == 2


def test_a_selector_that_matches_fewer_than_it_should_is_counted_as_unreadable(world: World) -> None:
    project = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0001"
    another(world, project_id=project)
    observer = Observer(world, {"triggers": {"weekly": {"project": project, "atLeast": 2}}})

    assert observer.look()[Metric.UNREADABLE_ROTATIONS] == 1
    assert "matches 1 rotations, but atLeast is 2" in next(observer.lines("rotation unreadable"))["explanation"]


def test_maximum_age_of_an_id_entry_overrides_that_of_a_selector(world: World) -> None:
    project = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0001"
    slow = another(world, 20, project_id=project)
    entries = [{"project": project, "maximumAge": "8 days"}, {"id": slow.id, "maximumAge": "40 days"}]

    assert Observer(world, {"triggers": {"weekly": entries}}).look()[Metric.OVERDUE_ROTATIONS] == 0


def test_audit_counts_an_invalid_listed_rotation_once_and_goes_on(world: World) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"secretRotations": [described(1), described(2, folder=None)]})

    world.infisical = Infisical("https://infisical.test", httpx.Auth(), httpx.MockTransport(answer), world.clock)
    selectors = [{"project": "payments"}, {"project": "payments", "path": "/"}]
    observer = Observer(world, {"triggers": {"weekly": selectors, "daily": selectors}})

    metrics = observer.look()

    assert (metrics[Metric.ROTATIONS_WATCHED], metrics[Metric.UNREADABLE_ROTATIONS]) == (1, 1)
    assert "secretRotations[1]" in next(observer.lines("rotation unreadable"))["explanation"]


def test_an_unreachable_infisical_is_reported(world: World) -> None:
    rotation = another(world)
    world.client_secret = "wrong"

    metrics = Observer(world, {"triggers": {"weekly": rotation.id}}).look()

    assert (metrics[Metric.ROTATIONS_WATCHED], metrics[Metric.UNREADABLE_ROTATIONS]) == (0, 1)


def test_an_invalid_map_is_a_logged_error(world: World) -> None:
    observer = Observer(world, "{")

    with pytest.raises(RotationMapError):
        observer.look()

    (line,) = observer.lines("audit failed")
    assert line["reason"] == "RotationMap"
    assert "not valid JSON" in line["explanation"]


def test_an_audit_changes_nothing(world: World) -> None:
    Observer(world, {"triggers": {"weekly": another(world, 99).id}}).look()

    assert {entry.method for entry in world.server.requests if not entry.path.endswith("/login")} == {"GET"}


# ---- mirrors ---------------------------------------------------------------------------------------------------------

IN_STEP: dict[str, Any] = {"state": "in step", "unreadable": []}
LAGS: dict[str, Any] = {"state": "lags", "unreadable": []}
ROTATE_SECRET = f"aws secretsmanager rotate-secret --secret-id {ARN}"


def mirroring(world: World, *answers: "dict[str, Any] | Exception") -> Observer:
    return Observer(world, {"triggers": {}, "mirrors": {ARN: another(world).id}}, hook=FakeHook(world, *answers))


def test_a_mirror_in_step_is_no_finding_and_the_hook_is_asked_for_a_dry_run_only(world: World) -> None:
    hook = FakeHook(world, IN_STEP)
    observer = Observer(world, {"triggers": {}, "mirrors": {ARN: another(world).id}}, hook=hook)

    metrics = observer.look()

    assert (metrics[Metric.LAGGING_MIRRORS], metrics[Metric.UNREADABLE_ROTATIONS]) == (0, 0)
    assert hook.asked == [("stack-HookFunction", {"dryRun": True, "SecretId": ARN}, 0)]
    assert list(observer.lines("mirror needs attention")) == []


@pytest.mark.parametrize(
    ("state", "next_step"),
    [
        ("lags", ROTATE_SECRET),
        ("no value yet", ROTATE_SECRET),
        (
            "not a JSON object",
            f"{as_an_object(ARN)}; then {ROTATE_SECRET}",
        ),
    ],
)
def test_a_mirror_that_lags_is_counted_and_logged_with_the_fix(world: World, state: str, next_step: str) -> None:
    observer = mirroring(world, {"state": state, "unreadable": []})

    assert observer.look()[Metric.LAGGING_MIRRORS] == 1
    (line,) = observer.lines("mirror needs attention")
    assert (line["secret"], line["state"], line["next_step"]) == (ARN, state, next_step)


def test_a_mirror_that_lags_for_less_than_a_minute_is_no_finding(world: World) -> None:
    """The secret's rotation was under way, or Infisical read from a replica that lagged."""
    hook = FakeHook(world, LAGS, IN_STEP)
    observer = Observer(world, {"triggers": {}, "mirrors": {ARN: another(world).id}}, hook=hook)

    assert observer.look()[Metric.LAGGING_MIRRORS] == 0
    assert [at for _, _, at in hook.asked] == [0, 60]


@pytest.mark.parametrize(
    ("answer", "explanation"),
    [
        (
            {"state": "unknown", "unreadable": [{"what": "secret", "reason": "Denied", "explanation": "its words"}]},
            "secret (Denied): its words",
        ),
        ({"errorMessage": "its words", "errorType": "SettingsError"}, "the hook failed: its words"),
        (ClientError({"Error": {"Code": "AccessDeniedException", "Message": "its words"}}, "Invoke"), "its words"),
    ],
    ids=["one side", "the hook", "Lambda"],
)
def test_a_mirror_that_cannot_be_looked_at_counts_as_unreadable_and_says_why(
    world: World, answer: "dict[str, Any] | Exception", explanation: str
) -> None:
    observer = mirroring(world, answer)

    metrics = observer.look()

    assert (metrics[Metric.LAGGING_MIRRORS], metrics[Metric.UNREADABLE_ROTATIONS]) == (0, 1)
    (line,) = observer.lines("mirror unreadable")
    assert explanation in line["explanation"]


def test_a_mirror_without_a_hook_counts_as_unreadable(world: World) -> None:
    observer = Observer(world, {"triggers": {}, "mirrors": {ARN: another(world).id}})

    assert observer.look()[Metric.UNREADABLE_ROTATIONS] == 1
    assert "MirroredSecretArns" in next(observer.lines("mirror unreadable"))["explanation"]
