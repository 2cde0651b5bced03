"""The function `retire` in virtual time: previous keys that are in use are reported, those that are silent go."""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from retire import Retire, RetireError
from rotator.dry_run.mirror_watch import MirrorWatch
from rotator.old_keys.retirement import Retirement
from rotator.telemetry import Metric, Telemetry
from rotator.timestamps import from_epoch
from tests.component.iam import refused
from tests.component.test_audit import ARN, FakeHook
from tests.component.world import START, World
from tests.unit.fakes import FakeEventBus

DAY = timedelta(days=1)
RETIRE_AFTER = 14 * DAY
QUIET = 7 * DAY
SECONDS = 900.0


class Retiring:
    """A world whose rotation `deployer` was made some days ago and left a previous key; and `retire`."""

    def __init__(self, days: float = 30, *, hook_answer: dict[str, Any] | None = None, **entry: Any) -> None:  # noqa: ANN401 - JSON
        self.world = World()
        self.user = "deployer"
        self.entry: object = {"id": self.world.rotation.id, **entry}
        self.mirrors: dict[str, object] = {}
        self.published = self.world.published_key
        rotated_at = START - 7 * DAY
        self.previous, _ = self.world.keys.create_access_key(self.user, (rotated_at - 30 * DAY).timestamp())
        self.world.clock.sleep((days - 7) * 86_400)
        self.logs, self.bus = io.StringIO(), FakeEventBus()
        telemetry = Telemetry(str(uuid4()), "INFO", self.logs)  # loggers of one name share their stream
        lambda_: Any = FakeHook(self.world, hook_answer or {})
        self.retire = Retire(
            read_map=lambda: json.dumps({"triggers": {"weekly": self.entry}, "mirrors": self.mirrors}),
            infisical=self.world.infisical,
            retirement=Retirement(
                self.world.iam.open, RETIRE_AFTER, QUIET, self.world.clock, lambda *_: "CloudTrail names nightly-job"
            ),
            mirrors=MirrorWatch(lambda_, "hook", self.world.clock),
            events=self.bus.events(telemetry),
            telemetry=telemetry,
            clock=self.world.clock,
        )

    def use_previous(self, ago: timedelta) -> None:
        self.world.iam.last_used[self.previous] = from_epoch(self.world.clock.time()) - ago

    def run(self) -> dict[str, float]:
        return self.retire.handle({}, "correlation", SECONDS)

    def lines(self, message: str) -> Iterator[dict[str, Any]]:
        return (line for line in map(json.loads, self.logs.getvalue().splitlines()) if line.get("message") == message)

    def reasons(self) -> list[str]:
        return [line["reason"] for line in self.lines("previous key left")]


def test_a_silent_previous_key_is_deactivated_with_the_command_that_undoes_it() -> None:
    here = Retiring()

    assert here.run() == {Metric.PREVIOUS_KEY_IN_USE: 0, Metric.PREVIOUS_KEY_DEACTIVATED: 1}

    assert here.world.iam.inactive == {here.previous}
    assert here.world.valid_keys == {here.previous, here.published}
    (line,) = here.lines("previous key deactivated")
    assert line["access_key_id"] == here.previous
    undo = f"aws iam update-access-key --user-name deployer --access-key-id {here.previous} --status Active"
    assert line["next_step"].endswith(undo)


def test_a_deactivated_key_is_not_deactivated_again_once_a_person_has_looked() -> None:
    here = Retiring()
    here.run()

    assert here.run()[Metric.PREVIOUS_KEY_DEACTIVATED] == 0
    assert here.reasons() == ["Inactive"]


def test_a_previous_key_in_use_is_named_with_its_consumer_and_left() -> None:
    here = Retiring()
    here.use_previous(DAY)

    assert here.run() == {Metric.PREVIOUS_KEY_IN_USE: 1, Metric.PREVIOUS_KEY_DEACTIVATED: 0}

    assert here.world.iam.inactive == set()
    (line,) = here.lines("previous key in use")
    assert line["explanation"].endswith("for s3 in eu-central-1. CloudTrail names nightly-job")


@pytest.mark.parametrize(
    ("entry", "deactivated"),
    [({}, 0), ({"retireAfter": "8 days"}, 1), ({"retireAfter": False}, 0)],
    ids=["the stack's", "the entry's", "never"],
)
def test_the_wait_of_an_entry_counts_before_the_stacks(entry: dict[str, Any], deactivated: int) -> None:
    assert Retiring(10, **entry).run()[Metric.PREVIOUS_KEY_DEACTIVATED] == deactivated


def test_an_unguarded_rotation_is_left_alone() -> None:
    here = Retiring(keyGuard=False)

    here.run()

    assert here.world.iam.calls == []


def test_rotations_that_share_an_iam_user_are_left_alone() -> None:
    here = Retiring()
    other = here.world.server.add_rotation(user_name="deployer-2", last_rotated_at=START)
    other.provider = here.world.rotation.provider
    here.entry = [here.entry, other.id]

    here.run()

    assert here.reasons() == ["SharedUser", "SharedUser"]


def test_no_key_is_deactivated_while_the_user_of_some_rotation_is_unknown() -> None:
    """It may be the same IAM user, and the key may be what the other rotation publishes."""
    here = Retiring()
    here.entry = [here.entry, "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"]

    assert here.run()[Metric.PREVIOUS_KEY_DEACTIVATED] == 0
    assert "Withheld" in here.reasons()


@pytest.mark.parametrize(("state", "deactivated"), [("in step", 1), ("lags", 0), ("unknown", 0)])
def test_the_previous_key_of_a_mirror_goes_only_where_the_mirror_is_in_step(state: str, deactivated: int) -> None:
    here = Retiring(hook_answer={"state": state, "unreadable": []})
    other = here.world.server.add_rotation(user_name="other", last_rotated_at=START)
    here.mirrors, here.entry = {ARN: here.entry}, {"id": other.id}

    assert here.run()[Metric.PREVIOUS_KEY_DEACTIVATED] == deactivated


def test_a_refused_deactivation_is_an_error_after_all_other_keys() -> None:
    here = Retiring()
    update = here.world.iam.update_access_key

    def denied(**_: object) -> None:
        raise refused("AccessDenied", "not authorized to perform: iam:UpdateAccessKey", "UpdateAccessKey")

    here.world.iam.update_access_key = denied  # type: ignore[method-assign] # the edge
    with pytest.raises(RetireError, match="1 previous keys could not be read or deactivated"):
        here.run()

    (line,) = here.lines("previous key not retired")
    assert (line["reason"], "iam:UpdateAccessKey" in line["explanation"]) == ("AccessDenied", True)

    here.world.iam.update_access_key = update  # type: ignore[method-assign] # the edge
    assert here.run()[Metric.PREVIOUS_KEY_DEACTIVATED] == 1


def test_a_rotation_with_too_little_time_is_left_for_the_next_run() -> None:
    here = Retiring()

    with pytest.raises(RetireError):
        here.retire.handle({}, "correlation", 60.0)

    assert here.world.iam.calls == []


def test_the_next_rotation_deletes_the_deactivated_key() -> None:
    here = Retiring()
    here.run()

    assert here.world.ensure().result == "rotated"
    assert here.previous not in here.world.valid_keys
    assert here.published in here.world.valid_keys
