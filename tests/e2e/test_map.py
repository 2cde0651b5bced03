"""`make map` as a pipeline runs it, against the deployed stack."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.e2e.tools import run_tool
from tests.sandbox.deployment import STACK
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.rotations import Rotation


def test_a_map_is_shown_then_put_then_unchanged(
    deployed: Sandbox, new_rotation: Callable[..., Rotation], tmp_path: Path
) -> None:
    old, new = new_rotation(), new_rotation()
    deployed.stack.put_map({"triggers": {"weekly": old.id}})
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"triggers": {"weekly": new.id}}))
    arguments = ["map", str(path), "--stack", STACK]

    shown = run_tool(deployed, *arguments)
    (put,) = json.loads("".join(run_tool(deployed, *arguments, "--yes", "--json").lines))
    again = run_tool(deployed, *arguments)

    assert shown.status == 3
    assert any(line.startswith(f"added    weekly: {new.name} ({new.id})") for line in shown.lines)
    assert any("nothing was put" in line for line in shown.lines)
    assert (put["status"], [each["kind"] for each in put["changes"]].count("added")) == (0, 1)
    assert (again.status, "has this map already" in again.lines[-1]) == (0, True)
    parameter = deployed.stack.ssm.get_parameter(Name=deployed.stack.outputs["RotationMapParameterName"])["Parameter"]
    assert parameter["Value"] == path.read_text()
