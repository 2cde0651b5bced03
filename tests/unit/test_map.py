"""`make map`: what it refuses, shows and puts. Dry runs are answered by the real dispatch on fakes."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from infisical_rotation_triggers.__main__ import cli
from infisical_rotation_triggers.map.check import ADVANCED, MAXIMUM_BYTES, STANDARD, MapRefusedError, refuse_too_large
from infisical_rotation_triggers.map.deploy import ChangedMeanwhileError, put, read_parameter, resolver
from infisical_rotation_triggers.map.difference import changes
from infisical_rotation_triggers.preflight.functions import DeployedFunctions, OutdatedError
from rotator.triggers.rotation_map import parse_rotation_map
from tests.unit.fakes import FakeInfisical, described, rotation_id
from tests.unit.stages import DispatchStage

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_ssm import SSMClient

A, B, C = (rotation_id(number) for number in (0xA, 0xB, 0xC))
NAME = "/infisical-rotation/map"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror/deployer-AbCdEf"
PAYMENTS = {"project": "payments"}


def main(arguments: list[str]) -> int:
    """Run the subcommand; return its exit status."""
    with pytest.raises(SystemExit) as end:
        cli(["map", *arguments])
    return int(end.value.code or 0)


# ---- the check -------------------------------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Callable[[object], str]:
    def write(rotation_map: object) -> str:
        path = tmp_path / "map.json"
        path.write_text(json.dumps(rotation_map))
        return str(path)

    return write


def test_a_valid_map_is_counted(written: Callable[[object], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written({"triggers": {"weekly": A}, "mirrors": {SECRET: B}})]) == 0

    assert "valid: 1 triggers, 1 mirrors" in capsys.readouterr().out


def test_a_wrong_map_is_refused_in_the_functions_words(
    written: Callable[[object], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([written({"triggers": {"weekly": [A, A]}})]) == 1

    assert f"triggers.weekly[1] names rotation {A} again" in capsys.readouterr().err


def test_a_report_as_json_has_every_file(written: Callable[[object], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written({"triggers": {"weekly": A}}), "/nowhere/map.json", "--json"]) == 2

    valid, missing = json.loads(capsys.readouterr().out)
    assert (valid["status"], missing["status"]) == (0, 2)
    assert "No such file" in missing["message"]


def test_a_map_in_another_encoding_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "map.json"
    path.write_bytes('{"triggers": {"wöchentlich": "x"}}'.encode("latin-1"))

    assert main([str(path)]) == 1
    assert "Save it as UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("tier", [STANDARD, ADVANCED, "Intelligent-Tiering"])
def test_a_map_is_as_large_as_its_parameter_can_be(tier: str) -> None:
    maximum = MAXIMUM_BYTES.get(tier, 8192)

    refuse_too_large("é" * (maximum // 2), tier)
    with pytest.raises(MapRefusedError, match=f"holds {maximum}"):
        refuse_too_large("é" * (maximum // 2) + "x", tier)


# ---- the difference --------------------------------------------------------------------------------------------------


class DispatchLambda:
    """Invokes a real dispatch, as Lambda does."""

    def __init__(self, stage: DispatchStage) -> None:
        self._stage = stage
        self.invoked: list[str] = []

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: ARG002, N803 - boto3's names
        event = json.loads(Payload)
        self.invoked.append(event["trigger"])
        try:
            answer = self._stage.dispatch.handle(event, "correlation")
        except Exception as error:  # noqa: BLE001 - as the runtime does
            failure = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(failure).encode())}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def difference(old: object, new: object, *rotations: dict[str, Any]) -> list[str]:
    lambda_ = DispatchLambda(DispatchStage(infisical=FakeInfisical(*rotations)))
    functions = DeployedFunctions(cast("LambdaClient", lambda_), "dispatch", None)
    before, after = json.dumps(old), json.dumps(new)
    maps = parse_rotation_map(before), parse_rotation_map(after)
    found = changes(*maps, resolver(functions, before), resolver(functions, after))
    return [" ".join(str(change).split()) for change in found]


def test_a_selector_instead_of_ids_is_shown_as_the_rotations_it_adds() -> None:
    old, new = {"triggers": {"weekly": A}}, {"triggers": {"weekly": PAYMENTS}}

    added, selectors = difference(old, new, described(0xA), described(0xB))

    assert added.startswith(
        f"added weekly: rotation-11 ({B}) gracePeriod: 6:00:00, keyGuard: on, minimumInterval: 1:00:00"
    )
    assert selectors.startswith("changed weekly: roles and selectors none → ")


def test_changed_limits_and_removed_rotations_are_shown() -> None:
    old = {"triggers": {"weekly": [A, B], "daily": C}}
    new = {"triggers": {"weekly": {"id": A, "minimumInterval": "6 days", "keyGuard": False}, "daily": C}}

    changed, removed = difference(old, new, described(0xA), described(0xB), described(0xC))

    assert changed == (
        f"changed weekly: rotation-10 ({A}) gracePeriod: 6:00:00 → none, keyGuard: on → off,"
        " minimumInterval: 1:00:00 → 6 days, 0:00:00"
    )
    assert removed == f"removed weekly: rotation-11 ({B})"


def test_a_new_mirror_takes_its_rotation_from_a_selector() -> None:
    old, new = {"triggers": {"weekly": PAYMENTS}}, {"triggers": {"weekly": PAYMENTS}, "mirrors": {SECRET: B}}

    assert difference(old, new, described(0xA), described(0xB)) == [
        f"removed weekly: rotation-11 ({B})",
        f"added mirrors: mirror/deployer ({SECRET}) fields: accessKeyId, secretAccessKey, rotation: {B}",
    ]


def test_another_role_of_the_key_guard_is_shown() -> None:
    role = "arn:aws:iam::210987654321:role/key-guard"
    new = {"triggers": {"weekly": {"id": A, "keyGuard": {"role": role}}}}

    assert difference({"triggers": {"weekly": A}}, new, described(0xA)) == [
        f"changed weekly: roles and selectors none → {A} as {role}"
    ]


def test_a_trigger_that_dispatch_would_refuse_is_unknown() -> None:
    (line,) = difference({"triggers": {"weekly": A}}, {"triggers": {"weekly": {"project": "empty"}}}, described(0xA))

    assert line.startswith("unknown weekly: dispatch would refuse this trigger EmptySelection: ")


def test_equal_maps_need_no_dry_run() -> None:
    lambda_ = DispatchLambda(DispatchStage())
    resolve = resolver(DeployedFunctions(cast("LambdaClient", lambda_), "dispatch", None), "{}")
    same = parse_rotation_map(json.dumps({"triggers": {"weekly": A}}))

    assert list(changes(same, same, resolve, resolve)) == []
    assert lambda_.invoked == []


def test_a_dispatch_that_knows_no_proposed_maps_is_outdated() -> None:
    class Old(DispatchLambda):
        def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
            event = json.loads(Payload) | {"aFieldOfLater": ""}
            return super().invoke(FunctionName, json.dumps(event).encode())

    functions = DeployedFunctions(cast("LambdaClient", Old(DispatchStage())), "dispatch", None)

    with pytest.raises(OutdatedError):
        resolver(functions, "{}")("weekly")


# ---- the put ---------------------------------------------------------------------------------------------------------


class FakeSsm:
    """One parameter. `meanwhile` runs once, between what the tool reads last and what it writes."""

    class exceptions:  # noqa: N801 - as boto3 has it
        class ParameterNotFound(ClientError): ...  # noqa: N818 - boto3's name

        class ParameterAlreadyExists(ClientError): ...  # noqa: N818 - boto3's name

    def __init__(self, text: str = "", version: int = 0, **metadata: str) -> None:
        self.text, self.version, self.metadata = text, version, {"Type": "String", "Tier": STANDARD} | metadata
        self.puts: list[dict[str, Any]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def get_parameter(self, **_: object) -> dict[str, Any]:
        if not self.version:
            raise self.exceptions.ParameterNotFound({}, "GetParameter")
        return {"Parameter": {"Value": self.text, "Version": self.version, "Type": self.metadata["Type"]}}

    def describe_parameters(self, **_: object) -> dict[str, Any]:
        return {"Parameters": [self.metadata]}

    def put_parameter(self, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - as boto3 takes them
        self.meanwhile()
        if self.version and not given["Overwrite"]:
            raise self.exceptions.ParameterAlreadyExists({}, "PutParameter")
        self.puts.append(given)
        self.change(given["Value"])
        return {"Version": self.version}

    def change(self, text: str) -> None:
        self.text, self.version = text, self.version + 1


def client(ssm: FakeSsm) -> "SSMClient":
    return cast("SSMClient", ssm)


def test_a_put_keeps_type_tier_and_key() -> None:
    ssm = FakeSsm("old", 7, Type="SecureString", Tier=ADVANCED, KeyId="alias/map")

    assert put(client(ssm), read_parameter(client(ssm), NAME), "new") == 8

    kept = {"Type": "SecureString", "Tier": ADVANCED, "KeyId": "alias/map"}
    assert ssm.puts == [{"Name": NAME, "Value": "new", "Overwrite": True, **kept}]


def test_a_map_that_changed_while_a_person_read_is_not_overwritten() -> None:
    ssm = FakeSsm("old", 7)
    seen = read_parameter(client(ssm), NAME)
    ssm.change("somebody else's")

    with pytest.raises(ChangedMeanwhileError, match="from version 7 to 8: nothing was put"):
        put(client(ssm), seen, "new")

    assert ssm.text == "somebody else's"


def test_a_change_that_only_the_version_shows_is_named() -> None:
    ssm = FakeSsm("old", 7)
    ssm.meanwhile = lambda: ssm.change("somebody else's")

    with pytest.raises(ChangedMeanwhileError, match=rf"version 9 .* has overwritten version 8.*--name {NAME}:8"):
        put(client(ssm), read_parameter(client(ssm), NAME), "new")


def test_a_parameter_that_somebody_creates_meanwhile_is_not_overwritten() -> None:
    ssm = FakeSsm()
    ssm.meanwhile = lambda: ssm.change("somebody else's")

    with pytest.raises(ChangedMeanwhileError, match="nothing was put"):
        put(client(ssm), read_parameter(client(ssm), NAME), "new")

    assert ssm.text == "somebody else's"
