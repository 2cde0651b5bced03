from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from rotator.dry_run.key_watch import READ_SECONDS, KeyWatch
from rotator.model import MappedRotation, RotationState
from tests.unit.fakes import VirtualClock, rotation_id

ROTATED_AT = datetime(2026, 11, 1, tzinfo=UTC)
CALL_SECONDS = READ_SECONDS / 10
SIX_HOURS_SECONDS = timedelta(hours=6).total_seconds()


def test_keys_that_there_was_no_time_to_list_are_listed_by_a_later_audit() -> None:
    clock = VirtualClock()

    def list_access_keys(**_: str) -> dict[str, Any]:
        clock.sleep(CALL_SECONDS)
        return {"AccessKeyMetadata": []}

    watch = KeyWatch(lambda *_: SimpleNamespace(list_access_keys=list_access_keys), clock)  # type: ignore[arg-type] # as much of IAM as it calls
    states = [
        RotationState(rotation_id(number), "payments", "success", ROTATED_AT, ROTATED_AT, None, user_name=f"u{number}")
        for number in range(40)
    ]
    looks = []
    for _ in range(60):
        looks.append(watch.look([(MappedRotation(state.id), state) for state in states]))
        clock.sleep(SIX_HOURS_SECONDS)

    assert all(look.left_for_later and not look.hidden for look in looks)
    assert all(len(look.keys) + look.left_for_later == len(states) for look in looks)
    assert {seen for look in looks for seen in look.keys} == {state.id for state in states}
