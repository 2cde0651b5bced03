"""What the rotation hook is handed, and what Infisical says of the key, spoiled: the secret stays as it is."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hook import Hook
from rotator.mirror.value import HookError, key_in, with_key
from rotator.model import AccessKey, MappedRotation, Mirror
from tests.component.hook_stage import HOOK_SECONDS, Stage, in_step, stage
from tests.component.secrets_manager import ARN, STEPS
from tests.component.world import World
from tests.hostile.mutations import (
    FUZZED,
    HUGE,
    LONE_SURROGATE,
    Json,
    Path,
    damaged_at,
    dotted,
    garbled,
    mutated,
    nested,
    paths_of,
    written,
)
from tests.hostile.readable import refused_readably
from tests.sandbox.standin.transport import StandInTransport
from tests.unit.fakes import rotation_id

MIRROR = Mirror(MappedRotation(rotation_id(1)))
KEY = AccessKey("AKIA0000000000000001", "s3cr3t-new")
SECRET = "s3cr3t-access-key"
VALUE = {"accessKeyId": "AKIA0000000000000002", "secretAccessKey": SECRET, "host": "db", "ports": [1, {"a": None}]}
EVENT = {"Step": "createSecret", "SecretId": ARN, "ClientRequestToken": "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0001"}
DRY_RUN = {"dryRun": True, "SecretId": ARN}


def told(here: Stage) -> list[str]:
    """The secrets that reached a log."""
    return [secret for secret in here.world.server.secrets if secret in here.logs.getvalue()]


def is_of_another_secret(event: Json) -> bool:
    """Whether it names one, which is Secrets Manager's to refuse."""
    return isinstance(event, dict) and isinstance(event.get("SecretId", 0), str) and event["SecretId"] != ARN


def is_refused_or_the_step_that_it_names(event: Json) -> None:
    here = stage()
    token = here.secrets.begin(EVENT["ClientRequestToken"])
    before = here.secrets.current

    with refused_readably() as refusal:
        here.hook.handle(event, HOOK_SECONDS)

    assert refusal.text or {name: event[name] for name in EVENT} == EVENT
    assert (here.secrets.current, told(here)) == (before, [])
    assert here.world.posts == int(not refusal.text)
    here.rotate(token)
    assert (here.world.posts, here.mirrored["accessKeyId"]) == (1, here.world.published_key)


@pytest.mark.parametrize("path", paths_of(EVENT), ids=dotted)
def test_an_event_with_one_part_damaged_changes_nothing_or_is_its_step(path: Path) -> None:
    for event in damaged_at(EVENT, path):
        if not is_of_another_secret(event):
            is_refused_or_the_step_that_it_names(event)


@FUZZED
@given(
    st.sampled_from(STEPS)
    .flatmap(lambda step: mutated({**EVENT, "Step": step}))
    .filter(lambda event: not is_of_another_secret(event))
)
def test_a_mutated_event_changes_nothing_or_is_the_step_that_it_names(event: Json) -> None:
    is_refused_or_the_step_that_it_names(event)


@pytest.mark.parametrize("path", paths_of(DRY_RUN), ids=dotted)
def test_a_dry_run_with_one_part_damaged_changes_nothing(path: Path) -> None:
    here = stage()
    before = here.secrets.current
    for event in damaged_at(DRY_RUN, path):
        with refused_readably() as refusal:
            json.dumps(here.hook.handle(event, HOOK_SECONDS), ensure_ascii=False).encode()
        assert refusal.text or {name: event[name] for name in DRY_RUN} == DRY_RUN

    assert (here.secrets.current, here.world.posts, told(here)) == (before, 0, [])


@FUZZED
@given(mutated(VALUE).map(json.dumps) | garbled(json.dumps(VALUE)))
def test_a_dry_run_shows_nothing_of_a_mutated_value(value: str) -> None:
    here = stage(lambda _: value)

    answer = json.dumps(here.hook.handle(DRY_RUN, HOOK_SECONDS), ensure_ascii=False).encode()

    assert SECRET.encode() not in answer
    assert (here.secrets.current, told(here)) == (value, [])


def is_refused_or_kept_but_for_the_key(value: str) -> None:
    with refused_readably() as refusal:
        key = key_in(value, MIRROR)
        rewritten = with_key(value, MIRROR, KEY)
    assert SECRET not in refusal.text
    if not refusal.text:
        before = json.loads(value)
        assert repr(json.loads(rewritten)) == repr({**before, "accessKeyId": KEY.id, "secretAccessKey": KEY.secret})
        assert key is None or (key.id, key.secret) == (before["accessKeyId"], before["secretAccessKey"])


@pytest.mark.parametrize("path", paths_of(VALUE), ids=dotted)
def test_a_damaged_secret_value_is_refused_unseen_or_keeps_its_other_fields(path: Path) -> None:
    for damaged in damaged_at(VALUE, path):
        is_refused_or_kept_but_for_the_key(json.dumps(damaged))


@FUZZED
@given(mutated(VALUE).map(json.dumps) | garbled(json.dumps(VALUE)) | st.integers(900, 1100).map(lambda n: "[" * n))
def test_a_mutated_value_is_refused_unseen_or_keeps_its_other_fields(value: str) -> None:
    is_refused_or_kept_but_for_the_key(value)


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_step_without_the_ones_before_it_changes_nothing(step: str) -> None:
    here = stage()
    token = here.secrets.begin()
    before = here.secrets.current

    with pytest.raises(HookError, match="holds no key"):
        here.step(step, token)

    assert (here.secrets.current, here.world.posts) == (before, 0)


def test_a_value_that_is_nested_too_deeply_is_left_alone() -> None:
    value = "[" * 100_000
    here = stage(lambda _: value)

    with pytest.raises(HookError, match="not a JSON object"):
        here.rotate()

    assert (here.secrets.current, here.world.posts) == (value, 0)


def spoiled_keys(here: Stage, content: bytes) -> Hook:
    """The hook, told something else when it asks for the rotation's keys."""
    inner = StandInTransport(here.world.server)

    def answer(request: httpx.Request) -> httpx.Response:
        response = inner.handle_request(request)
        is_keys = request.url.path.endswith("/generated-credentials")
        return httpx.Response(200, content=content) if is_keys else response

    reader = here.world.server.add_identity({"read", "read-generated-credentials"})
    here.world.client_id, here.world.client_secret = reader.client_id, reader.client_secret
    here.world.use_transport(httpx.MockTransport(answer))
    others = {name: getattr(here.hook, name) for name in Hook.__slots__ if name != "infisical"}
    return Hook(infisical=here.world.infisical, **others)


def keys_of(world: World) -> Json:
    slot = world.rotation.slots[0]
    return {
        "rotationId": world.rotation.id,
        "activeIndex": 0,
        "generatedCredentials": [{"accessKeyId": slot["accessKeyId"], "secretAccessKey": slot["secretAccessKey"]}],
    }


@FUZZED
@given(st.data())
def test_a_mutated_key_becomes_current_only_if_aws_accepts_it(data: st.DataObject) -> None:
    here = stage(lambda _: "{}")
    hostile = spoiled_keys(here, written(data.draw(mutated(keys_of(here.world)))))
    token = here.secrets.begin()

    with refused_readably() as refusal:
        for step in STEPS:
            hostile.handle({"Step": step, "SecretId": ARN, "ClientRequestToken": token}, HOOK_SECONDS)

    current = key_in(here.secrets.current, MIRROR)
    assert (current is None) if refusal.text else (current is not None and current.id in here.world.valid_keys)
    assert (here.world.posts, told(here)) == (0, [])


@pytest.mark.parametrize("part", ["accessKeyId", "secretAccessKey"])
@pytest.mark.parametrize(
    "hostile", [LONE_SURROGATE, "AKIA\r\nX-Injected: 1", "é", "\x00", " ", "", HUGE], ids=lambda text: ascii(text[:9])
)
def test_a_key_that_cannot_sign_a_request_is_refused(part: str, hostile: str) -> None:
    assert key_in(json.dumps({**VALUE, part: hostile}), MIRROR) is None


def test_a_mirror_in_step_stays_so_with_any_other_fields() -> None:
    def value(world: World) -> str:
        fields: dict[str, Any] = json.loads(in_step(world))
        return json.dumps({**fields, "deep": nested(300), LONE_SURROGATE: LONE_SURROGATE, "number": float("nan")})

    here = stage(value)

    here.rotate()

    assert here.mirrored.keys() >= {"deep", LONE_SURROGATE, "number"}
    assert here.mirrored["accessKeyId"] == here.world.published_key
