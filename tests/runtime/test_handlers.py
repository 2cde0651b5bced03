"""Each handler, from the built artifact, as Lambda runs it."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from rotator.model import MappedRotation
from rotator.rotation.request import RotationRequest
from rotator.telemetry import Metric
from rotator.timestamps import format_timestamp
from tests.runtime.conftest import Mapped
from tests.runtime.emulator import Emulator, Invocation
from tests.runtime.world import World
from tests.sandbox.deployment import embedded_metrics
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.proxy import Server, proxy
from tests.sandbox.secret_rotation import STEPS, SecretRotations
from tests.sandbox.secrets_manager import RotatingSecretsManager, RotationState
from tests.sandbox.standin.server import serve

EVENTS = sorted((ROOT / "events").glob("*.json"))
TIME_OF_THE_SAMPLES = "2026-11-16T05:00:00Z"


def metrics(invocation: Invocation) -> Counter[str]:
    """The sum of each metric that an invocation emitted."""
    return sum((Counter(embedded_metrics(record)) for record in invocation.records), Counter())


def messages(invocation: Invocation) -> list[str]:
    """The messages that an invocation logged."""
    return [record["message"] for record in invocation.records if "message" in record]


def only_json(invocation: Invocation) -> bool:
    return len(invocation.records) == len(invocation.printed) > 0


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_dispatch_sends_a_request_for_each_rotation(
    world: World, dispatch: Emulator, mapped: Mapped, path: Path
) -> None:
    # An hour apart, for they all name the same occurrence.
    moment = format_timestamp(datetime.now(UTC) - timedelta(hours=1 + EVENTS.index(path)))
    rotations = mapped.payments if path.stem.startswith("secret-") else mapped.weekly

    invocation = dispatch.invoke(json.loads(path.read_text().replace(TIME_OF_THE_SAMPLES, moment)))

    answer = invocation.answer
    common = {"trigger": answer["trigger"], "correlationId": answer["correlation_id"], "type": "aws-iam-user-secret"}
    assert path.stem == "direct" or answer["occurred_at"] == moment
    assert answer["requests"] == len(rotations)
    assert world.take() == [
        {**common, "rotationId": each.id, "occurredAt": answer["occurred_at"]} for each in rotations
    ]
    assert messages(invocation) == ["trigger dispatched"]
    assert only_json(invocation)


def test_dispatch_previews_what_infisical_and_iam_say(world: World, dispatch: Emulator, mapped: Mapped) -> None:
    invocation = dispatch.invoke({"trigger": "weekly", "dryRun": True})

    previews = invocation.answer["rotations"]
    assert [(each["rotation_id"], each["decision"]) for each in previews] == [
        (each.id, "rotate") for each in mapped.weekly
    ]
    assert world.take() == []
    assert only_json(invocation)


def test_rotate_rotates_what_it_can_read_and_keeps_what_it_cannot(world: World, rotate: Emulator) -> None:
    rotations = [world.add_rotation(), world.add_rotation()]
    before = [rotation.published["accessKeyId"] for rotation in rotations]
    for each in rotations:
        request = RotationRequest(MappedRotation(each.id), "weekly", datetime.now(UTC), "correlation")
        world.send_request(request.to_message(), each.id)
    world.send_request('{"rotationId": "all of them"}', "nobody")

    invocation = rotate.invoke({"Records": world.receive()})

    assert invocation.answer == {"batchItemFailures": []}
    assert [world.posts_for(each) for each in rotations] == [1, 1]
    for each, old in zip(rotations, before, strict=True):
        new = each.published["accessKeyId"]
        assert new != old
        assert world.valid_keys(each) == {old, new}
    assert [report["reason"] for report in world.take("FailedRotations")] == ["InvalidRequest"]
    emitted = metrics(invocation)
    assert (emitted[Metric.ROTATION_SUCCEEDED], emitted[Metric.ROTATION_REFUSED]) == (2, 1)
    assert only_json(invocation)


@pytest.fixture
def infisical_of_an_own_authority(world: World, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Yield the URL, and the name of the SSM parameter with the authority's certificate."""
    authority, certificate = trustme.CA(), tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    with serve(world.infisical, certificate) as url:
        yield url, world.put_parameter("/runtime/authority", authority.cert_pem.bytes().decode())


def test_audit_looks_at_every_rotation_over_tls(world: World, infisical_of_an_own_authority: tuple[str, str]) -> None:
    url, parameter = infisical_of_an_own_authority
    fresh = world.add_rotation(datetime.now(UTC), is_auto_rotation_enabled=True)
    overdue = world.add_rotation(is_auto_rotation_enabled=False)
    failed = world.add_rotation(datetime.now(UTC) - timedelta(days=1), is_auto_rotation_enabled=False)
    failed.fail(datetime.now(UTC).timestamp(), "no more keys")
    unknown = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"
    entries = [fresh.id, overdue.id, failed.id, unknown]
    names = {
        "InfisicalUrl": url,
        "CaCertificateParameter": parameter,
        "RotationMapParameter": world.put_parameter("/runtime/audit", {"triggers": {"all": entries}}),
    }

    with world.running("AuditFunction", names) as audit:
        invocation = audit.invoke({})

    answer = invocation.answer
    age = answer.pop(Metric.OLDEST_ROTATION_AGE)
    assert age == pytest.approx(datetime.now(UTC).timestamp() - overdue.last_rotated_at, abs=60)
    assert answer == {
        Metric.ROTATIONS_WATCHED: 3,
        Metric.OVERDUE_ROTATIONS: 1,
        Metric.ROTATIONS_IN_FAILED_STATE: 1,
        Metric.AUTO_ROTATION_ENABLED: 1,
        Metric.UNREADABLE_ROTATIONS: 1,
        Metric.LAGGING_MIRRORS: 0,
        Metric.SHARED_USERS: 0,
        Metric.INACTIVE_PUBLISHED_KEYS: 0,
        Metric.OLDEST_ACTIVE_KEY_AGE: pytest.approx(age / 86_400, abs=0.1),
    }
    assert metrics(invocation) == Counter({**answer, Metric.OLDEST_ROTATION_AGE: age})
    assert only_json(invocation)


def test_the_hook_takes_a_secret_to_the_published_key(world: World) -> None:
    rotation, state = world.add_rotation(), RotationState()
    hook_identity = world.infisical.add_identity({"read", "read-generated-credentials"})
    login = {"clientId": hook_identity.client_id, "clientSecret": hook_identity.client_secret}
    invocations: list[Invocation] = []

    def invoke(_: str, payload: Any) -> str | None:  # noqa: ANN401 - JSON
        invocations.append(hook.invoke(payload))
        return invocations[-1].error

    with proxy(
        world.aws.endpoint, RotatingSecretsManager(Server(), state, world.aws.client("secretsmanager"))
    ) as endpoint:
        secrets = world.aws.session().client("secretsmanager", endpoint_url=endpoint)
        arn = secrets.create_secret(Name="mirror", SecretString='{"region": "eu-west-1"}')["ARN"]
        names = {
            "RotationMapParameter": world.put_parameter(
                "/runtime/hook", {"triggers": {}, "mirrors": {arn: rotation.id}}
            ),
            "HookMachineIdentitySecretArn": secrets.create_secret(Name="login", SecretString=json.dumps(login))["ARN"],
        }
        with world.running("HookFunction", names, variables={"AWS_ENDPOINT_URL": endpoint}) as hook:
            rotations = SecretRotations(secrets, state, invoke)
            rotations.attach(arn, "hook")
            result = rotations.rotate(arn)

        value = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
    assert [(step.step, step.error) for step in result.steps] == [(step, None) for step in STEPS]
    assert value == {**rotation.published, "region": "eu-west-1"}
    assert world.posts_for(rotation) == 0
    assert [metrics(each)[Metric.HOOK_STEP_SUCCEEDED] for each in invocations] == [1, 1, 1, 1]
    assert all(only_json(each) for each in invocations)
