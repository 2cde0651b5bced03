"""Events that nobody means to send to `dispatch`, as the runtime hands them over."""

from typing import Any

import pytest

from tests.runtime.conftest import Mapped
from tests.runtime.emulator import Emulator
from tests.runtime.world import World

FIVE_MEGABYTES = "weekly" * 833_333
LONE_SURROGATE = "\ud800"


def nested(levels: int) -> Any:  # noqa: ANN401 - JSON
    event: Any = {"trigger": "weekly"}
    for _ in range(levels):
        event = {"trigger": event}
    return event


EVENTS = {
    "a list": [{"trigger": "weekly"}],
    "null": None,
    "a text": "weekly",
    "a number": 1e300,
    "an empty object": {},
    "200 levels": nested(200),
    "5 MB of text": FIVE_MEGABYTES,
    "5 MB of trigger": {"trigger": FIVE_MEGABYTES},
    "5 MB of field": {"trigger": "weekly", FIVE_MEGABYTES: True},
    "half a character for a trigger": {"trigger": LONE_SURROGATE},
    "half a character for a field": {"trigger": "weekly", LONE_SURROGATE: True},
    "half a character for a time": {"trigger": "weekly", "occurredAt": LONE_SURROGATE},
    "half a character for a rotation": {"trigger": "weekly", "only": [LONE_SURROGATE]},
}
ERRORS = {"UnsupportedEventError", "UnmappedTriggerError"}
READABLE_LENGTH = 1200


@pytest.mark.parametrize("name", EVENTS)
def test_a_hostile_event_is_refused_readably_and_the_next_event_is_answered(
    world: World, dispatch: Emulator, mapped: Mapped, name: str
) -> None:
    dispatch.invoke({"trigger": "weekly", "dryRun": True})

    refused = dispatch.invoke(EVENTS[name])
    answered = dispatch.invoke({"trigger": "weekly", "dryRun": True})

    assert refused.answer["errorType"] in ERRORS
    assert 0 < len(refused.error or "") < READABLE_LENGTH
    (log,) = (record for record in refused.records if "message" in record)
    assert (log["message"], log["explanation"]) == ("trigger refused", refused.error)
    assert [refused.init_seconds, answered.init_seconds] == [None, None]  # it is the same process all the time
    assert [each["rotation_id"] for each in answered.answer["rotations"]] == [each.id for each in mapped.weekly]
    assert world.take() == []
    assert [world.posts_for(each) for each in mapped.weekly] == [0, 0]
