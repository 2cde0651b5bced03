"""The rotation hook, step by step, against Infisical and a Secrets Manager that crash whenever they like."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from rotator.infisical.client import READ_TIMEOUT_SECONDS, Infisical
from rotator.infisical.errors import InfisicalError
from rotator.mirror.value import HookError
from rotator.mirror.verification import KeyNotAcceptedError
from rotator.model import AccessKey, GeneratedCredentials, MappedRotation, RotationState
from rotator.rotation.attempt import Result
from rotator.triggers.rotation_map import UnmappedSecretError
from tests.component.hook_stage import HOOK_SECONDS, Crash, Stage, in_step, owner_of, stage
from tests.component.secrets_manager import ARN, FakeSecretsManager, run_steps
from tests.component.world import START, World
from tests.sandbox.standin.faults import Fails, Point, Slow


def test_a_mirror_that_is_in_step_gets_a_fresh_key_and_keeps_its_other_fields() -> None:
    here = stage()
    old = here.world.published_key

    here.rotate()

    assert here.queue.outcomes == [Result.ROTATED]
    assert here.mirrored["accessKeyId"] == here.world.published_key != old
    assert here.mirrored["region"] == "eu"
    assert here.world.valid_keys == {old, here.world.published_key}
    assert here.world.posts == 1


@pytest.mark.parametrize(
    "value",
    [lambda _: None, lambda _: "{}", lambda _: '{"accessKeyId": "AKIAOLD", "secretAccessKey": "old"}'],
    ids=["no value yet", "no key yet", "another key"],
)
def test_a_mirror_that_lags_adopts_the_published_key_and_rotates_nothing(value: Callable[[World], str | None]) -> None:
    here = stage(value)

    here.rotate()

    assert here.mirrored["accessKeyId"] == here.world.published_key
    assert here.world.posts == 0


def test_field_names_are_the_maps() -> None:
    names = {"accessKeyIdField": "AWS_ACCESS_KEY_ID", "secretAccessKeyField": "AWS_SECRET_ACCESS_KEY"}
    world_id = {}

    def value(world: World) -> str:
        world_id["id"] = world.rotation.id
        return "{}"

    here = stage(value)
    rotation_map = json.dumps({"triggers": {}, "mirrors": {ARN: {"id": world_id["id"], **names}}})
    here.exchange(read_map=lambda: rotation_map)

    here.rotate()

    assert here.mirrored.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_create_secret_recovers_from_every_crash_without_another_rotation() -> None:
    calls = stage()
    calls.step("createSecret", calls.secrets.begin())

    assert calls.fuse.calls >= 8
    for crash_after in range(1, calls.fuse.calls + 1):
        here = stage()
        old, token = here.world.published_key, here.secrets.begin()
        here.fuse.crash_after = crash_after
        with pytest.raises(Crash):
            here.step("createSecret", token)

        here.rotate(token)

        assert here.world.posts == 1, f"after call {crash_after}"
        assert here.mirrored["accessKeyId"] == here.world.published_key
        assert here.world.valid_keys == {old, here.world.published_key}


def test_a_rotation_recovers_from_every_crash_with_the_same_token() -> None:
    calls = stage()
    calls.rotate()

    for crash_after in range(1, calls.fuse.calls + 1):
        here = stage()
        token = here.secrets.begin()
        here.fuse.crash_after = crash_after
        with pytest.raises(Crash):
            here.rotate(token)

        here.rotate(token)

        assert here.world.posts == 1, f"after call {crash_after}"
        assert here.mirrored["accessKeyId"] == here.world.published_key


def test_a_finished_rotation_that_is_repeated_changes_nothing() -> None:
    here = stage()
    token = here.rotate()
    value, labels = here.secrets.current, {version: set(names) for version, names in here.secrets.labels.items()}

    here.rotate(token)

    assert (here.secrets.current, here.secrets.labels) == (value, labels)
    assert here.world.posts == 1


def test_testing_alone_rotates_nothing() -> None:
    here = stage()
    token = here.secrets.begin()
    here.secrets.values[token] = here.secrets.current or ""

    here.step("testSecret", token)

    assert here.world.posts == 0


def test_too_soon_fails_at_once_and_says_when_it_will_be_allowed() -> None:
    here = stage()
    here.rotate()
    here.world.clock.sleep(60)
    before = here.world.clock.time()

    with pytest.raises(HookError, match=r"another rotation is allowed from 2026-11-16T06:00:0\d"):
        here.rotate()

    assert here.world.clock.time() - before < 1
    assert here.world.posts == 1


def test_a_failed_rotation_is_reported_in_infisicals_words() -> None:
    here = stage()
    here.world.server.faults.add(here.world.rotation.id, Fails(Point.BEFORE, message="no such luck"))

    with pytest.raises(HookError, match="no such luck"):
        here.rotate()


def test_a_failed_attempt_is_retried_and_a_second_call_rotates_nothing() -> None:
    here = stage()
    old = here.world.published_key
    here.world.server.faults.add(here.world.rotation.id, Fails(Point.BEFORE, message="no such luck"))
    with pytest.raises(HookError, match="no such luck"):
        here.rotate()
    again = here.secrets.begin()
    with pytest.raises(HookError, match=r"waits in RotationRequests\.fifo"):
        here.rotate(again)

    here.world.clock.sleep(1080)
    here.queue.deliver()
    here.rotate(again)

    assert here.queue.outcomes == [Result.FAILED, Result.ROTATED, Result.SKIPPED]
    assert here.world.posts == 2
    assert here.mirrored["accessKeyId"] == here.world.published_key
    assert here.world.valid_keys == {old, here.world.published_key}


def unguarded(world: World) -> dict[str, object]:
    return {"id": world.rotation.id, "keyGuard": False}


def test_the_mirrors_own_interval_counts() -> None:
    here = stage(mirror=lambda world: {"id": world.rotation.id, "minimumInterval": "8 days"})

    with pytest.raises(HookError, match="another rotation is allowed from 2026-11-17"):
        here.rotate()

    assert here.world.posts == 0


def test_a_hook_that_waits_in_vain_says_why_even_if_infisical_hangs() -> None:
    here, seconds = stage(), 300.0
    here.queue.asleep = True
    began = here.world.clock.monotonic()
    here.world.server.faults.add_read(here.world.rotation.id, Slow(0), Slow(0), *[Slow(60)] * 40)
    event = {"Step": "createSecret", "SecretId": ARN, "ClientRequestToken": here.secrets.begin()}

    with pytest.raises(HookError, match=r"RotationRequests\.fifo"):
        here.hook.handle(event, seconds)

    assert here.world.clock.monotonic() - began < seconds


def test_a_failure_without_key_guard_makes_the_hook_refuse() -> None:
    here = stage(mirror=unguarded)
    here.world.server.faults.add(here.world.rotation.id, Fails(Point.BEFORE, message="no such luck"))
    with pytest.raises(HookError):
        here.rotate()

    with pytest.raises(HookError, match=r"no rotation is possible.*no such luck"):
        here.rotate()

    assert here.world.posts == 1
    assert (here.queue.outcomes, here.queue.waiting, here.world.iam.calls) == ([Result.FAILED], [], [])


def test_a_refusal_by_the_key_guard_leaves_the_mirror_unchanged() -> None:
    here = stage()
    before = here.secrets.current
    here.world.keys.create_access_key("deployer")
    here.world.clock.sleep(86_400)
    began = here.world.clock.time()

    with pytest.raises(HookError, match=r"no rotation is possible \(OrphanKey\).*aws iam update-access-key"):
        here.rotate()

    assert here.world.clock.time() - began < 5
    assert (here.queue.outcomes, here.queue.waiting) == ([], [])
    assert here.secrets.current == before
    assert here.world.posts == 0


def test_a_pending_key_guard_decision_fails_at_once_and_says_when_to_retry() -> None:
    here = stage()
    here.world.clock.sleep(86_400)
    here.world.keys.create_access_key("deployer")
    began = here.world.clock.time()

    with pytest.raises(
        HookError, match=r"no rotation is possible yet \(UnsettledKey\).*from 2026-11-17T05:12:0"
    ) as wait:
        here.rotate()

    assert f"rotate-secret --secret-id {ARN}" in str(wait.value)
    assert here.world.clock.time() - began < 5
    assert (here.queue.outcomes, here.queue.waiting, here.world.posts) == ([], [], 0)


def test_a_retry_within_five_minutes_is_a_request_of_its_own() -> None:
    """The first request may have ended in FailedRotations.fifo; SQS drops a repeated one for five minutes."""
    here = stage()
    here.queue.asleep = True
    token = here.secrets.begin()
    with pytest.raises(HookError, match=r"RotationRequests\.fifo"):
        here.rotate(token)
    here.queue.waiting.clear()
    here.queue.asleep = False

    here.rotate(token)

    assert here.world.posts == 1
    assert here.mirrored["accessKeyId"] == here.world.published_key


def test_a_retry_whose_first_request_is_still_waiting_rotates_nothing_more() -> None:
    here = stage()
    old = here.world.published_key
    here.queue.asleep = True
    token = here.secrets.begin()
    for _ in range(2):
        with pytest.raises(HookError, match=r"RotationRequests\.fifo"):
            here.rotate(token)
    here.queue.deliver()

    here.rotate(token)

    assert here.queue.outcomes == [Result.ROTATED, Result.SKIPPED]
    assert here.world.valid_keys == {old, here.world.published_key}


class Lagging:
    """An Infisical whose answers about keys are old ones for so many reads."""

    def __init__(self, infisical: Infisical, old: GeneratedCredentials, reads: int) -> None:
        self._infisical = infisical
        self._old = old
        self.reads = reads

    def state(self, rotation: MappedRotation, timeout_seconds: float = READ_TIMEOUT_SECONDS) -> RotationState:
        return self._infisical.state(rotation, timeout_seconds)

    def credentials(
        self, rotation: MappedRotation, timeout_seconds: float = READ_TIMEOUT_SECONDS
    ) -> GeneratedCredentials:
        self.reads -= 1
        return self._old if self.reads >= 0 else self._infisical.credentials(rotation, timeout_seconds)


def lag(here: Stage, reads: int) -> Lagging:
    """From now on Infisical answers with the keys of now, for so many reads."""
    infisical = here.hook.infisical
    lagging = Lagging(infisical, infisical.credentials(here.world.request().rotation, 10), reads)
    stale: Any = lagging
    here.exchange(infisical=stale, waiter=replace(here.hook.waiter, infisical=stale))
    return lagging


def test_an_old_key_is_not_taken_for_a_fresh_one_after_the_commit() -> None:
    here = stage()
    old = here.world.published_key
    lag(here, 4)  # the first read, and three after the commit

    here.rotate()

    assert here.mirrored["accessKeyId"] == here.world.published_key != old


def test_a_mirror_is_not_moved_back_to_an_older_key_by_a_stale_answer() -> None:
    here = stage()
    lagging = lag(here, 0)
    here.rotate()
    value = here.secrets.current
    here.world.clock.sleep(60)
    lagging.reads = 1

    with pytest.raises(HookError, match=r"does not list the current key .* AWS accepts it.*replica that lags"):
        here.rotate()

    assert here.secrets.current == value
    assert here.world.posts == 1


def test_a_revoked_key_that_was_put_there_a_minute_ago_is_replaced_at_once() -> None:
    revoked = '{"accessKeyId": "AKIAREVOKED", "secretAccessKey": "revoked"}'
    here = stage(lambda _: revoked)
    (first,) = here.secrets.values
    here.secrets.created[first] = START - timedelta(minutes=1)

    here.rotate()

    assert here.mirrored["accessKeyId"] == here.world.published_key


def by_hand(world: World) -> str:
    key_id, secret = world.keys.create_access_key("deployer")
    return json.dumps({"accessKeyId": key_id, "secretAccessKey": secret})


def test_a_live_key_from_before_infisical_is_replaced() -> None:
    """The secret held a key that was made by hand before the rotation was: AWS accepts it, Infisical never knew it."""
    here = stage(by_hand)

    here.rotate()

    assert here.mirrored["accessKeyId"] == here.world.published_key


def test_a_pending_key_that_a_stale_answer_does_not_list_is_not_called_revoked() -> None:
    here = stage()
    lagging = lag(here, 0)
    token = here.secrets.begin()
    here.step("createSecret", token)

    for minutes in (1, 60):
        here.world.clock.sleep(minutes * 60)
        lagging.reads = 1
        with pytest.raises(HookError, match="does not list the pending key") as stale:
            here.step("setSecret", token)
        assert "AWSPENDING" not in str(stale.value)

    here.rotate(token)
    assert here.mirrored["accessKeyId"] == here.world.published_key


def test_a_pending_key_that_nobody_knows_yet_is_not_called_revoked() -> None:
    """It was made seconds ago: Infisical's replica lags, and IAM has not spread the news."""

    def nobody_yet(_: World) -> Callable[[AccessKey], str]:
        def ask(_: AccessKey) -> str:
            raise KeyNotAcceptedError("InvalidClientTokenId")

        return ask

    here = stage(ask=nobody_yet)
    lagging = lag(here, 0)
    token = here.secrets.begin()
    here.step("createSecret", token)
    lagging.reads = 1

    with pytest.raises(HookError, match="does not list the pending key") as stale:
        here.step("setSecret", token)

    assert "AWSPENDING" not in str(stale.value)


def test_a_mirror_one_rotation_behind_adopts_the_key_at_once() -> None:
    """Infisical lists the secret's key beside the published one: its answer is the newer of the two."""
    here = stage()
    (first,) = here.secrets.values
    here.secrets.created[first] = START
    here.world.ensure()

    here.rotate()

    assert here.mirrored["accessKeyId"] == here.world.published_key
    assert here.world.posts == 1


def test_testing_a_secret_that_holds_no_key_yet_says_to_rotate_it_once() -> None:
    """As RotateSecret does with RotateImmediately=false: it tests a copy of the current value."""
    here = stage(lambda _: "{}")
    token = here.secrets.begin()
    here.secrets.values[token] = "{}"

    with pytest.raises(HookError, match=f"holds no key yet; rotate it once: .* --secret-id {ARN}"):
        here.step("testSecret", token)

    assert here.world.posts == 0


def test_a_late_rotation_is_requested_again_without_rotating_twice() -> None:
    here = stage()
    here.queue.asleep = True
    token = here.secrets.begin()
    with pytest.raises(HookError, match=r"RotationRequests\.fifo"):
        here.rotate(token)

    # 295 s / 15 s = 20, and a few at the beginning, when the rotation is expected
    assert len(here.world.server.requests) <= 30
    # the request was worked after all, and Secrets Manager tries again
    here.world.ensure(here.world.request(START + timedelta(seconds=1)))
    here.rotate(token)

    assert here.world.posts == 1
    assert here.mirrored["accessKeyId"] == here.world.published_key


def test_two_secrets_that_mirror_one_rotation_cost_one_rotation() -> None:
    here = stage()
    here.rotate()
    lagging = FakeSecretsManager(here.secrets.values[next(iter(here.secrets.values))])
    here.exchange(secrets=lagging)

    run_steps(here.invoke, ARN, lagging.begin())

    assert here.world.posts == 1
    assert json.loads(lagging.current or "")["accessKeyId"] == here.world.published_key


def test_a_pending_key_that_was_revoked_says_how_to_clear_the_stuck_version() -> None:
    here = stage()
    token = here.secrets.begin()
    here.step("createSecret", token)
    for _ in range(2):
        here.world.clock.sleep(86_400)
        here.world.ensure()

    with pytest.raises(HookError) as stuck:
        here.step("setSecret", token)

    assert f"--version-stage AWSPENDING --remove-from-version-id {token}" in str(stuck.value)
    assert ARN in str(stuck.value)


def test_a_schedule_that_rotates_between_the_steps_leaves_the_pending_key_valid() -> None:
    here = stage()
    token = here.secrets.begin()
    here.step("createSecret", token)
    here.world.clock.sleep(86_400)
    here.world.ensure()

    here.rotate(token)

    assert here.mirrored["accessKeyId"] in here.world.valid_keys


def test_verification_waits_until_iam_has_propagated_the_key() -> None:
    def slow(world: World) -> Callable[[AccessKey], str]:
        def ask(key: AccessKey) -> str:
            if world.clock.time() < START.timestamp() + 30:
                raise KeyNotAcceptedError("InvalidClientTokenId")
            return owner_of(world)(key)

        return ask

    here = stage(ask=slow)

    here.rotate()

    assert here.mirrored["accessKeyId"] == here.world.published_key


def test_proof_ends_with_the_functions_time() -> None:
    def never(_: World) -> Callable[[AccessKey], str]:
        def ask(_: AccessKey) -> str:
            raise KeyNotAcceptedError("InvalidClientTokenId")

        return ask

    here = stage(ask=never)

    with pytest.raises(HookError, match=r"does not accept the key .* yet"):
        here.rotate()


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::123456789012:user/somebody-else",
        "arn:aws:sts::123456789012:assumed-role/deployer/deployer",
        "arn:aws:iam::123456789012:root",
    ],
)
def test_a_key_of_another_user_is_not_accepted_as_proof(arn: str) -> None:
    here = stage(ask=lambda _: lambda _: arn)

    with pytest.raises(HookError, match="not the IAM user deployer's"):
        here.rotate()


def test_the_guard_refuses_what_secrets_manager_is_not_rotating() -> None:
    here = stage()
    with pytest.raises(HookError, match="has no version"):
        here.step("createSecret", "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0001")

    here.secrets.labels["unlabelled"] = {"MINE"}
    with pytest.raises(HookError, match="not labelled AWSPENDING"):
        here.step("createSecret", "unlabelled")

    here.secrets.enabled = False
    with pytest.raises(HookError, match="rotation is not enabled"):
        here.rotate()

    assert here.world.posts == 0


def test_a_secret_that_does_not_say_whether_it_is_rotated_is_believed_its_labels() -> None:
    """Secrets Manager may leave it out, while it tests a hook that is being attached."""
    here = stage()
    here.secrets.enabled = None

    here.rotate()

    assert here.mirrored["accessKeyId"] == here.world.published_key


def test_a_secret_that_the_map_does_not_know_is_refused() -> None:
    here = stage()
    here.exchange(read_map=lambda: '{"triggers": {}, "mirrors": {}}')

    with pytest.raises(UnmappedSecretError, match="mirrors do not have"):
        here.rotate()


@pytest.mark.parametrize("value", ["plain text", "[]", '"text"'])
def test_a_value_that_is_not_a_json_object_is_left_alone(value: str) -> None:
    here = stage(lambda _: value)

    with pytest.raises(HookError, match="not a JSON object") as refused:
        here.rotate()

    assert here.secrets.current == value
    assert value not in str(refused.value) or value == "[]"


@pytest.mark.parametrize("event", [None, {}, [], {"Step": "createSecret"}, {"Step": "dropSecret", "SecretId": ARN}])
def test_an_event_that_secrets_manager_does_not_send_is_refused(event: object) -> None:
    with pytest.raises(HookError, match="only Secrets Manager"):
        stage().hook.handle(event, HOOK_SECONDS)


def test_a_rotation_of_another_type_is_refused() -> None:
    here = stage()
    here.world.rotation.type = "postgres-credentials"

    with pytest.raises(InfisicalError, match="not configured for AWS IAM User Secret"):
        here.rotate()


def test_the_hooks_identity_cannot_rotate() -> None:
    here = stage()

    with pytest.raises(InfisicalError, match="not allowed to rotate-secrets"):
        here.hook.infisical.rotate(here.world.request().rotation, 35)


def test_failures_are_counted_and_reported_without_key_material() -> None:
    here = stage()
    here.rotate()
    here.world.clock.sleep(60)
    with pytest.raises(HookError) as failure:
        here.rotate()

    told = here.logs.getvalue() + str(failure.value)
    assert '"HookStepFailed"' in told
    assert [secret for secret in here.world.server.secrets if secret in told] == []


def test_a_network_that_hides_infisical_fails_the_step_readably() -> None:
    here = stage()
    here.world.use_transport(httpx.MockTransport(lambda _: httpx.Response(502, text="<html>")))
    here.exchange(infisical=here.world.infisical)

    with pytest.raises(InfisicalError, match="502"):
        here.rotate()


# ---- dry runs --------------------------------------------------------------------------------------------------------

DRY_RUN = {"dryRun": True, "SecretId": ARN}
ROTATION = {
    "RotationEnabled": True,
    "RotationLambdaARN": "arn:aws:lambda:us-east-1:123456789012:function:hook",
    "RotationRules": {"ScheduleExpression": "rate(30 days)"},
}

WEEKLY = ROTATION | {"RotationRules": {"AutomaticallyAfterDays": 7}}


class Attached(FakeSecretsManager):
    """A secret as Secrets Manager describes it, or fails to."""

    def __init__(self, value: str | None, rotation: dict[str, object], failures: Mapping[str, Exception]) -> None:
        super().__init__(value)
        self.rotation = rotation
        self.failures = failures

    def describe_secret(self, SecretId: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        if "describe" in self.failures:
            raise self.failures["describe"]
        described = super().describe_secret(SecretId)
        del described["RotationEnabled"]
        return described | self.rotation

    def get_secret_value(self, SecretId: str, VersionId: str = "", VersionStage: str = "") -> dict[str, Any]:  # noqa: N803 - boto3's names
        if "get" in self.failures:
            raise self.failures["get"]
        return super().get_secret_value(SecretId, VersionId, VersionStage)


def dry(
    value: Callable[[World], str | None] | None = None,
    rotation: dict[str, object] = ROTATION,
    failures: Mapping[str, Exception] = {},
) -> Stage:
    here = stage(value)
    here.secrets = Attached(here.secrets.current, rotation, failures)
    here.exchange(secrets=here.secrets)
    return here


def preview(here: Stage) -> dict[str, Any]:
    """A dry run, which is an answer that Lambda can write, changes nothing and tells nothing that is secret."""
    values, labels = dict(here.secrets.values), {version: set(names) for version, names in here.secrets.labels.items()}

    answer = here.hook.handle(DRY_RUN, HOOK_SECONDS)

    assert answer is not None
    assert json.loads(json.dumps(answer)) == answer
    assert (here.secrets.values, here.secrets.labels) == (values, labels)
    assert (here.queue.outcomes, here.queue.waiting, here.world.posts) == ([], [], 0)
    told = json.dumps(answer) + here.logs.getvalue()
    secrets = {*here.world.server.secrets, *(value for value in here.secrets.values.values() if len(value) > 2)}
    assert [secret for secret in secrets if secret in told] == []
    return answer


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "you may not"}}, "DescribeSecret")


def another_key(world: World) -> str:
    """The published key's id, with another secret: pasted by hand, for instance."""
    slot = world.rotation.slots[world.rotation.active_index]
    return json.dumps({"accessKeyId": slot["accessKeyId"], "secretAccessKey": "pasted-wrongly"})


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (in_step, "in step"),
        (lambda _: '{"accessKeyId": "AKIAOLD", "secretAccessKey": "old-secret"}', "lags"),
        (another_key, "lags"),
        (lambda _: "{}", "lags"),
        (lambda _: None, "no value yet"),
        (lambda _: "plain-text", "not a JSON object"),
        (lambda _: '["a-list"]', "not a JSON object"),
    ],
    ids=["in step", "another key", "another secret", "no key", "no value", "plain text", "a list"],
)
def test_a_dry_run_reports_whether_the_secret_is_in_step(value: Callable[[World], str | None], state: str) -> None:
    here = dry(value)

    answer = preview(here)

    assert (answer["state"], answer["unreadable"]) == (state, [])
    assert (answer["secret"], answer["rotation_id"]) == (ARN, here.world.rotation.id)


@pytest.mark.parametrize(
    ("rotation", "told"),
    [
        (ROTATION, (True, ROTATION["RotationLambdaARN"], "rate(30 days)")),
        (ROTATION | {"RotationEnabled": False}, (False, ROTATION["RotationLambdaARN"], "rate(30 days)")),
        (
            ROTATION | {"RotationRules": {"AutomaticallyAfterDays": 7}},
            (True, ROTATION["RotationLambdaARN"], "rate(7 days)"),
        ),
        ({}, (False, None, None)),
    ],
    ids=["attached", "switched off", "every seven days", "never attached"],
)
def test_a_dry_run_reports_who_rotates_the_secret_and_when(
    rotation: dict[str, object], told: tuple[bool, str | None, str | None]
) -> None:
    answer = preview(dry(rotation=rotation))

    assert (answer["rotation_enabled"], answer["rotation_function"], answer["rotation_schedule"]) == told


@pytest.mark.parametrize(
    ("value", "state"),
    [(in_step, "unknown"), (lambda _: None, "no value yet"), (lambda _: "plain-text", "not a JSON object")],
)
def test_a_dry_run_reports_a_forbidden_key_beside_the_secrets_state(
    value: Callable[[World], str | None], state: str
) -> None:
    here = dry(value)
    here.exchange(infisical=here.world.connected_as(here.world.server.add_identity({"read"})))

    answer = preview(here)

    (side,) = answer["unreadable"]
    assert (side["what"], side["reason"]) == ("credentials", "PermissionDenied")
    assert "read-generated-credentials" in side["explanation"]
    assert (answer["state"], answer["rotation_enabled"]) == (state, True)


def test_a_refused_login_is_reported() -> None:
    here = dry()
    here.world.client_secret = "renewed-since"
    here.exchange(infisical=here.world.infisical)

    assert [(side["what"], side["reason"]) for side in preview(here)["unreadable"]] == [("credentials", "LoginRefused")]


@pytest.mark.parametrize("call", ["describe", "get"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refused("AccessDeniedException"), "AccessDeniedException"),
        (EndpointConnectionError(endpoint_url="https://secretsmanager"), "EndpointConnection"),
    ],
    ids=["denied", "unreachable"],
)
def test_a_secret_that_cannot_be_read_is_reported(call: str, error: Exception, reason: str) -> None:
    answer = preview(dry(failures={call: error}))

    (side,) = answer["unreadable"]
    assert (side["what"], side["reason"], side["explanation"]) == ("secret", reason, str(error))
    assert answer["state"] == "unknown"


def test_a_dry_run_reports_both_unreadable_sides_at_once() -> None:
    here = dry(failures={"describe": refused("ResourceNotFoundException")})
    here.exchange(infisical=here.world.connected_as(here.world.server.add_identity({"read"})))

    assert [side["what"] for side in preview(here)["unreadable"]] == ["credentials", "secret"]


def test_a_dry_run_is_logged_as_one_and_counts_no_step() -> None:
    here = dry()

    preview(here)

    (line,) = map(json.loads, here.logs.getvalue().splitlines())
    assert line.items() >= {"message": "mirror previewed", "secret": ARN, "state": "in step"}.items()


def test_a_dry_run_of_a_secret_that_the_map_does_not_know_is_refused() -> None:
    here = dry()
    here.exchange(read_map=lambda: '{"triggers": {}, "mirrors": {}}')

    with pytest.raises(UnmappedSecretError):
        here.hook.handle(DRY_RUN, HOOK_SECONDS)

    assert here.logs.getvalue() == ""


@pytest.mark.parametrize(
    "event",
    [
        {"dryRun": True, "SecretId": ARN, "Step": "createSecret", "ClientRequestToken": "token"},
        {"dryRun": False, "SecretId": ARN, "Step": "createSecret", "ClientRequestToken": "token"},
        {"dryRun": "yes", "SecretId": ARN},
        {"dryRun": 1, "SecretId": ARN},
        {"dryRun": True, "SecretId": ""},
        {"dryRun": True},
    ],
    ids=["a step too", "a step too, not dry", "yes", "1", "empty", "no secret"],
)
def test_an_event_that_is_half_a_dry_run_is_refused_and_does_nothing(event: dict[str, object]) -> None:
    here = stage()
    here.secrets.begin("token")

    with pytest.raises(HookError, match="a dry run must be"):
        here.hook.handle(event, HOOK_SECONDS)

    assert (here.world.posts, here.secrets.values.get("token")) == (0, None)
