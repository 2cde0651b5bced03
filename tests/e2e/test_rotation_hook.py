"""Secrets Manager rotates secrets that mirror keys, on the deployed stack, crashes and all."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import boto3
import pytest

from rotator.telemetry import Metric
from tests.e2e.assertions import delta, outcomes_of, posts_for
from tests.sandbox.deployment import wait_until
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.sandbox import Sandbox
from tests.sandbox.standin.faults import Fails, Point
from tests.sandbox.standin.rotations import Rotation

NewRotation = Callable[..., Rotation]


class Mirrored:
    """A rotation, and a secret that mirrors it."""

    def __init__(self, deployed: Sandbox, rotation: Rotation, arn: str) -> None:
        self.deployed = deployed
        self.rotation = rotation
        self.arn = arn
        self.old = deployed.published_key(rotation)

    @property
    def value(self) -> dict[str, str]:
        return self.deployed.hook.value(self.arn)

    @property
    def is_in_step(self) -> bool:
        return self.value["accessKeyId"] == self.deployed.published_key(self.rotation)

    @property
    def posts(self) -> int:
        return posts_for(self.deployed, self.rotation)


def published(rotation: Rotation) -> dict[str, str]:
    return {"accessKeyId": rotation.published["accessKeyId"], "secretAccessKey": rotation.published["secretAccessKey"]}


@pytest.fixture
def mirror(deployed: Sandbox, new_rotation: NewRotation) -> Callable[..., Mirrored]:
    """Create a rotation, and a secret that is in step with it unless told what it holds; both are in the map."""

    def create(value: Mapping[str, str] | None = None, **fields: object) -> Mirrored:
        rotation = new_rotation(**fields)
        held = {**published(rotation), "region": "eu-west-1"} if value is None else value
        arn = deployed.hook.add_secret(rotation.name, held)
        deployed.stack.put_map({"triggers": {}, "mirrors": {arn: rotation.id}})
        deployed.hook.calls.take()
        return Mirrored(deployed, rotation, arn)

    return create


@pytest.fixture(autouse=True)
def _calm(deployed: Sandbox) -> Iterator[None]:
    yield
    deployed.hook.calls.disarm()
    deployed.hook.propagation.seconds = 0
    deployed.stack.take("FailedRotationsUrl")


def test_a_secret_in_step_gets_a_fresh_key_that_aws_accepts(deployed: Sandbox, mirror: Callable[..., Mirrored]) -> None:
    it = mirror()

    result = deployed.hook.rotations.rotate(it.arn)

    assert [(step.step, step.error) for step in result.steps] == [
        (step, None) for step in ("createSecret", "setSecret", "testSecret", "finishSecret")
    ]
    assert it.is_in_step
    assert it.value["accessKeyId"] != it.old
    assert it.value["region"] == "eu-west-1"
    assert deployed.valid_keys(it.rotation.name) == {it.old, it.value["accessKeyId"]}
    assert it.posts == 1
    caller = boto3.client(
        "sts",
        endpoint_url=deployed.stack.aws.endpoint,
        aws_access_key_id=it.value["accessKeyId"],
        aws_secret_access_key=it.value["secretAccessKey"],
    ).get_caller_identity()
    assert caller["Arn"].endswith(f":user/{it.rotation.name}")


@pytest.mark.parametrize("held", [{}, {"accessKeyId": "AKIAOLD", "secretAccessKey": "old"}], ids=["none", "another"])
def test_a_secret_that_lags_adopts_the_published_key(
    deployed: Sandbox, mirror: Callable[..., Mirrored], held: dict[str, str]
) -> None:
    it = mirror(held)

    assert deployed.hook.rotations.rotate(it.arn).error is None

    assert it.is_in_step
    assert it.posts == 0


def test_create_secret_recovers_from_crashes_at_its_decisive_calls(
    deployed: Sandbox, mirror: Callable[..., Mirrored]
) -> None:
    """tests/component/test_hook.py has a crash after every single call; here processes are killed."""
    it = mirror()
    assert deployed.hook.rotations.rotate(it.arn).error is None
    whole = deployed.hook.calls.take()
    put = next(number for number, call in enumerate(whole, 1) if call == "secretsmanager:PutSecretValue")
    assert put >= 8, "the calls of createSecret"

    send = whole.index("sqs:SendMessageBatch") + 1
    for number in (send, put - 1, put):
        it = mirror()
        deployed.hook.calls.crash_after(number)
        crashed = deployed.hook.rotations.rotate(it.arn)
        assert not deployed.hook.calls.disarm(), f"there was no call {number}"
        assert crashed.failed_step == "createSecret", f"call {number}: {whole[number - 1]}"

        retried = deployed.hook.rotations.retry(it.arn, crashed.token)

        assert retried.error is None, f"call {number}: {retried.error}"
        assert it.posts == 1, f"call {number}: {whole[number - 1]}"
        assert it.is_in_step
        assert deployed.valid_keys(it.rotation.name) == {it.old, it.value["accessKeyId"]}


def test_testing_alone_rotates_nothing(deployed: Sandbox, mirror: Callable[..., Mirrored]) -> None:
    it = mirror()

    assert deployed.hook.rotations.test_only(it.arn).error is None

    assert it.posts == 0
    assert it.value["accessKeyId"] == it.old


def test_testing_a_new_mirror_alone_says_that_it_has_to_be_rotated_once(
    deployed: Sandbox, mirror: Callable[..., Mirrored]
) -> None:
    it = mirror({})

    error = deployed.hook.rotations.test_only(it.arn).error

    assert error is not None
    assert "holds no key yet; rotate it once" in error
    assert it.posts == 0


def test_the_guard(deployed: Sandbox, mirror: Callable[..., Mirrored]) -> None:
    it = mirror()
    rotations = deployed.hook.rotations

    unstaged = rotations.step(it.arn, "createSecret", str(uuid4()))
    assert unstaged.error
    assert "has no version" in unstaged.error

    token = rotations.rotate(it.arn).token
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
        assert rotations.step(it.arn, step, token).error is None, "it is current already"
    assert it.posts == 1

    rotations.cancel(it.arn)
    disabled = rotations.step(it.arn, "createSecret", token)
    assert disabled.error
    assert "rotation is not enabled" in disabled.error


def test_too_soon_fails_at_once_and_says_when(deployed: Sandbox, mirror: Callable[..., Mirrored]) -> None:
    before = deployed.stack.metrics()
    it = mirror(last_rotated_at=datetime.now(UTC) - timedelta(minutes=10))

    result = deployed.hook.rotations.rotate(it.arn)

    assert result.failed_step == "createSecret"
    assert "another rotation is allowed from" in str(result.error)
    assert it.posts == 0
    assert it.value["accessKeyId"] == it.old
    assert delta(before, deployed.stack.metrics(), Metric.HOOK_STEP_FAILED) == 1


def test_a_failed_rotation_is_reported_in_infisicals_words(deployed: Sandbox, mirror: Callable[..., Mirrored]) -> None:
    it = mirror()
    deployed.infisical.faults.add(it.rotation.id, Fails(Point.BEFORE, message="no such luck"))

    result = deployed.hook.rotations.rotate(it.arn)

    assert result.failed_step == "createSecret"
    assert "no such luck" in str(result.error)
    assert it.value["accessKeyId"] == it.old
    # the request comes back by itself, much later than this test
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs["RotationRequestsUrl"])


def test_two_secrets_that_mirror_one_rotation_at_once_cost_one_rotation(
    deployed: Sandbox, mirror: Callable[..., Mirrored]
) -> None:
    it = mirror()
    second = deployed.hook.add_secret(f"{it.rotation.name}-second", published(it.rotation))
    mirrors = {it.arn: it.rotation.id, second: it.rotation.id}
    deployed.stack.put_map({"triggers": {}, "mirrors": mirrors})

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(deployed.hook.rotations.rotate, mirrors))

    # whoever came after the rotation adopts at the next try, as Secrets Manager makes it
    for arn, result in zip(mirrors, results, strict=True):
        if result.error:
            assert deployed.hook.rotations.retry(arn, result.token).error is None
    wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)
    assert it.posts == 1
    assert it.is_in_step
    assert deployed.hook.value(second)["accessKeyId"] == it.value["accessKeyId"]
    assert deployed.valid_keys(it.rotation.name) == {it.old, it.value["accessKeyId"]}


def test_a_rotation_between_create_and_set_leaves_the_pending_key_valid(
    deployed: Sandbox, mirror: Callable[..., Mirrored]
) -> None:
    it = mirror()
    deployed.hook.propagation.seconds = 600  # the proof waits: the rotation stands between its steps
    with ThreadPoolExecutor(1) as pool:
        rotating = pool.submit(deployed.hook.rotations.rotate, it.arn)
        wait_until("the proof", lambda: "sts:GetCallerIdentity" in deployed.hook.calls.take())
        rotated = deployed.published_key(it.rotation)
        deployed.infisical.start_rotation(it.rotation.id)
        wait_until("another key", lambda: deployed.published_key(it.rotation) not in (it.old, rotated))
        deployed.hook.propagation.seconds = 0
        result = rotating.result()

    assert result.error is None
    assert it.value["accessKeyId"] in deployed.valid_keys(it.rotation.name)


def test_new_keys_may_take_seconds_to_work(deployed: Sandbox, mirror: Callable[..., Mirrored]) -> None:
    it = mirror()
    deployed.hook.propagation.seconds = 6

    assert deployed.hook.rotations.rotate(it.arn).error is None

    assert deployed.hook.calls.take().count("sts:GetCallerIdentity") > 1
    assert it.is_in_step


def test_the_hooks_identity_and_role_cannot_rotate(deployed: Sandbox) -> None:
    role = deployed.stack.resources("AWS::IAM::Role")["HookRole"]
    actions = {
        action
        for _, statements in deployed.stack.policies(role)
        for statement in statements
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }

    assert "rotate-secrets" not in deployed.hook_identity.permissions
    assert {action for action in actions if action.startswith("iam:")} <= {
        "iam:ListAccessKeys",
        "iam:GetAccessKeyLastUsed",
    }
    assert deployed.stack.outputs["HookRoleArn"] not in (deployed.identity.allowed_principals or [])


def test_the_hook_writes_no_secret_beyond_its_pattern(deployed: Sandbox, new_rotation: NewRotation) -> None:
    rotation = new_rotation()
    foreign = deployed.stack.aws.client("secretsmanager").create_secret(Name="elsewhere", SecretString="{}")["ARN"]
    deployed.hook.rotations.attach(foreign, deployed.hook.function_name)
    deployed.stack.put_map({"triggers": {}, "mirrors": {foreign: rotation.id}})

    result = deployed.hook.rotations.rotate(foreign)

    assert "not authorized to perform: secretsmanager:" in str(result.error)


def test_a_sync_into_the_triggering_secret_does_not_go_round(deployed: Sandbox, new_rotation: NewRotation) -> None:
    """Infisical writes the very secret whose change is the trigger; the embedded EventBridge tells of it by itself."""
    rotation = new_rotation()
    secrets = deployed.stack.aws.client("secretsmanager")
    arn = secrets.create_secret(Name=f"synced/{rotation.name}", SecretString="{}")["ARN"]
    deployed.add_sync(rotation, arn)
    deployed.stack.put_map({"triggers": {f"synced/{rotation.name}": rotation.id}})
    function = deployed.stack.outputs["DispatchFunctionArn"]
    (target,) = (
        target
        for name in deployed.stack.resources("AWS::Events::Rule").values()
        for target in deployed.stack.events.list_targets_by_rule(Rule=name.rsplit("|", 1)[-1])["Targets"]
        if "SecretLabelEvents" in name
    )
    assert target["Arn"] == function
    pattern = {"source": ["aws.secretsmanager"], "detail-type": ["Secret Label Updated"], "resources": [arn]}
    rule = deployed.stack.events.put_rule(Name="synced", EventPattern=json.dumps(pattern), State="ENABLED")
    deployed.stack.events.put_targets(Rule="synced", Targets=[{"Id": "dispatch", "Arn": function}])
    deployed.stack.lambda_.add_permission(
        FunctionName=function,
        StatementId="synced",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule["RuleArn"],
    )

    secrets.put_secret_value(SecretId=arn, SecretString='{"changed": "by hand"}')

    def told_of_twice() -> bool:
        return [end.get("trigger") for end in deployed.stack.ends_of_triggers()].count(arn) == 2

    wait_until("both changes", told_of_twice)
    wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)
    rotated, *others = outcomes_of(deployed, rotation)
    assert rotated["outcome"] == "rotated"
    # Within one second both are the same occurrence, and SQS drops the second request.
    assert [end["outcome"] for end in others] in ([], ["skipped"])
    assert json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])["AWS_ACCESS_KEY_ID"] == str(
        deployed.published_key(rotation)
    )
    assert posts_for(deployed, rotation) == 1


@pytest.mark.parametrize(
    ("family", "rule_of_it"),
    [
        ("secret-label-updated", "SecretLabelEvents"),
        ("secret-api-call", "SecretCallEvents"),
        ("secret-rotation-succeeded", "SecretRotationEvents"),
    ],
)
def test_each_kind_of_secret_event_has_a_rule(deployed: Sandbox, family: str, rule_of_it: str) -> None:
    event = (ROOT / "events" / f"{family}.json").read_text()

    assert matches(deployed, rule_of_it, event)
    assert not matches(deployed, rule_of_it, event.replace("AbCdEf", "ZzZzZz")), "another secret"


def test_the_rule_of_calls_lets_no_version_through_that_is_only_pending(deployed: Sandbox) -> None:
    event = (ROOT / "events" / "ignored" / "secret-pending-version.json").read_text()

    assert not matches(deployed, "SecretCallEvents", event)


def matches(deployed: Sandbox, rule_of_it: str, event: str) -> bool:
    """Whether a deployed rule lets an event through, with the samples' secret in place of the parameter's."""
    (name,) = (
        name.rsplit("|", 1)[-1] for name in deployed.stack.resources("AWS::Events::Rule").values() if rule_of_it in name
    )
    rule = deployed.stack.events.describe_rule(Name=name)
    assert rule["State"] == "DISABLED"
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payments/deployer-AbCdEf"
    pattern = rule["EventPattern"].replace('"none"', f'"{arn}"')
    return deployed.stack.events.test_event_pattern(EventPattern=pattern, Event=event)["Result"]
