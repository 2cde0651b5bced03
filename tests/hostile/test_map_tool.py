"""`make map` and dispatch agree on every map: both accept it, or both refuse it in the same words."""

from pathlib import Path

import pytest
from hypothesis import given, settings

from infisical_rotation_triggers.map.check import MAXIMUM_BYTES, MapRefusedError, check
from rotator.triggers.rotation_map import RotationMapError, UnmappedTriggerError
from tests.hostile.mutations import FUZZED
from tests.hostile.test_maps import SPOILED
from tests.unit.stages import DispatchStage


def refusal_by_dispatch(text: str) -> str:
    """Let dispatch read a map, by asking for a trigger that no map has."""
    with pytest.raises((RotationMapError, UnmappedTriggerError)) as refused:
        DispatchStage(text=text).dispatch.handle({"trigger": "no map has this one"}, "correlation")
    return str(refused.value) if isinstance(refused.value, RotationMapError) else ""


def refusal_by_tool(path: Path) -> str:
    try:
        check(path)
    except MapRefusedError as error:
        return str(error)
    return ""


@settings(FUZZED, max_examples=1000)
@given(text=SPOILED)
def test_the_tool_and_dispatch_agree_on_every_map(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "spoiled-map.json"
    path.write_bytes(text.encode())

    by_tool, by_dispatch = refusal_by_tool(path), refusal_by_dispatch(text)

    if by_tool.startswith("the map has "):  # more than any parameter holds: dispatch never gets it
        assert len(text.encode()) > max(MAXIMUM_BYTES.values())
        return
    assert by_tool == by_dispatch
