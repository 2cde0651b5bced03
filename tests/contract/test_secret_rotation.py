"""Secrets Manager as the rotation function sees it: the protocol, and the labels and values at each of its steps."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.embedded_aws import EmbeddedAws, embedded_aws
from tests.sandbox.proxy import Server, proxy
from tests.sandbox.secret_rotation import STEPS, RotationRefused, SecretRotations
from tests.sandbox.secrets_manager import RotatingSecretsManager, RotationState

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

OLD, NEW = "old value", "new value"
TOKEN = "6f3ff24c-1f0c-4a13-9a10-2f4b2f6a3c0d"


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws() as running:
        yield running


@pytest.fixture(scope="module")
def state() -> RotationState:
    return RotationState()


@pytest.fixture(scope="module")
def url(aws: EmbeddedAws, state: RotationState) -> Iterator[str]:
    layers = RotatingSecretsManager(Server(), state, aws.client("secretsmanager"))
    with proxy(aws.endpoint, layers) as url:
        yield url


@pytest.fixture(scope="module")
def secrets(aws: EmbeddedAws, url: str) -> "SecretsManagerClient":
    return aws.session().client("secretsmanager", endpoint_url=url)


@pytest.fixture
def secret(secrets: "SecretsManagerClient") -> str:
    return secrets.create_secret(Name=f"mirror/{uuid4()}", SecretString=OLD)["ARN"]


@dataclass
class Rotator:
    """A rotation function that keeps the contract, but for the steps that fail."""

    secrets: "SecretsManagerClient"
    fails: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    def __call__(self, function_name: str, payload: Mapping[str, str]) -> str | None:
        step, secret, token = payload["Step"], payload["SecretId"], payload["ClientRequestToken"]
        self.steps.append(f"{function_name}.{step}")
        if step in self.fails:
            return self.fails[step]
        labels = self.secrets.describe_secret(SecretId=secret)["VersionIdsToStages"]
        if "AWSPENDING" not in labels.get(token, []):
            return "not staged"
        if step == "createSecret":
            self.secrets.put_secret_value(
                SecretId=secret, ClientRequestToken=token, SecretString=NEW, VersionStages=["AWSPENDING"]
            )
        if step == "finishSecret":
            (current,) = (version for version, stages in labels.items() if "AWSCURRENT" in stages)
            self.secrets.update_secret_version_stage(
                SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
            )
        return None


@pytest.fixture
def rotator(secrets: "SecretsManagerClient") -> Rotator:
    return Rotator(secrets)


@pytest.fixture
def rotations(secrets: "SecretsManagerClient", state: RotationState, rotator: Rotator, secret: str) -> SecretRotations:
    rotations = SecretRotations(secrets, state, rotator)
    rotations.attach(secret, "hook")
    return rotations


@pytest.fixture
def value(secrets: "SecretsManagerClient", secret: str) -> Callable[..., str]:
    def read(**version: str) -> str:
        try:
            return secrets.get_secret_value(SecretId=secret, **version)["SecretString"]
        except ClientError as error:
            return error.response["Error"]["Code"]

    return read


def test_a_rotation_is_four_steps_and_ends_with_the_new_value(
    rotations: SecretRotations, rotator: Rotator, secret: str, value: Callable[..., str]
) -> None:
    (first,) = rotations.labels(secret)

    result = rotations.rotate(secret, TOKEN)

    assert (result.token, result.error, result.failed_step) == (TOKEN, None, None)
    assert [each.step for each in result.steps] == list(STEPS)
    assert rotator.steps == [f"hook.{step}" for step in STEPS]
    assert result.before == {first: ["AWSCURRENT"], TOKEN: ["AWSPENDING"]}
    assert result.after == {first: ["AWSPREVIOUS"], TOKEN: ["AWSPENDING", "AWSCURRENT"]}
    assert (value(), value(VersionStage="AWSPREVIOUS")) == (NEW, OLD)


def test_the_next_rotation_takes_the_label_along(rotations: SecretRotations, rotator: Rotator, secret: str) -> None:
    rotations.rotate(secret, TOKEN)
    rotator.fails["createSecret"] = "no"

    result = rotations.rotate(secret)

    assert result.after == {**result.before, TOKEN: ["AWSCURRENT"], result.token: ["AWSPENDING"]}


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_step_ends_it_and_the_version_stays_pending(
    rotations: SecretRotations, rotator: Rotator, secret: str, value: Callable[..., str], step: str
) -> None:
    rotator.fails[step] = "the function's own words"

    result = rotations.rotate(secret, TOKEN)

    assert (result.failed_step, result.error) == (step, "the function's own words")
    assert [each.step for each in result.steps] == list(STEPS[: STEPS.index(step) + 1])
    assert result.after[TOKEN] == ["AWSPENDING"]
    assert value() == OLD
    assert value(VersionId=TOKEN) == ("ResourceNotFoundException" if step == "createSecret" else NEW)


@pytest.mark.parametrize("step", STEPS)
def test_a_retry_is_the_whole_process_with_the_same_token(
    rotations: SecretRotations, rotator: Rotator, secret: str, value: Callable[..., str], step: str
) -> None:
    rotator.fails[step] = "once"
    rotations.rotate(secret, TOKEN)
    rotator.fails.clear()

    result = rotations.retry(secret, TOKEN)

    assert (result.token, result.error, [each.step for each in result.steps]) == (TOKEN, None, list(STEPS))
    assert value() == NEW


def test_a_rotation_that_is_not_under_way_is_not_retried(rotations: SecretRotations, secret: str) -> None:
    with pytest.raises(RotationRefused):
        rotations.retry(secret, TOKEN)


@pytest.mark.parametrize("step", ["createSecret", "setSecret"])
def test_a_stuck_rotation_keeps_others_out_until_its_label_is_removed(
    rotations: SecretRotations, rotator: Rotator, secrets: "SecretsManagerClient", secret: str, step: str
) -> None:
    """Whether or not its version has got a value."""
    rotator.fails[step] = "no"
    rotations.rotate(secret, TOKEN)
    for start in (rotations.rotate, rotations.test_only):
        with pytest.raises(RotationRefused, match="A previous rotation isn't complete"):
            start(secret)

    secrets.update_secret_version_stage(SecretId=secret, VersionStage="AWSPENDING", RemoveFromVersionId=TOKEN)

    assert TOKEN not in rotations.labels(secret)
    rotator.fails.clear()
    assert rotations.rotate(secret).error is None


@pytest.mark.parametrize("error", [None, "does not work"])
def test_testing_alone_is_one_step_on_a_version_that_does_not_stay(
    rotations: SecretRotations, rotator: Rotator, secret: str, value: Callable[..., str], error: str | None
) -> None:
    before = rotations.labels(secret)
    if error:
        rotator.fails["testSecret"] = error

    result = rotations.test_only(secret)

    assert (result.error, rotator.steps) == (error, ["hook.testSecret"])
    assert result.before == {**before, result.token: ["AWSPENDING"]}
    assert rotations.labels(secret) == before
    assert (value(VersionId=result.token), value()) == (OLD, OLD)


def test_a_pending_version_has_no_value_before_it_is_written(
    rotations: SecretRotations, rotator: Rotator, secret: str, value: Callable[..., str]
) -> None:
    rotator.fails["createSecret"] = "no"
    rotations.rotate(secret, TOKEN)

    assert value(VersionId=TOKEN) == "ResourceNotFoundException"
    assert value(VersionStage="AWSPENDING") == "ResourceNotFoundException"
    assert value(VersionId=TOKEN, VersionStage="AWSPENDING") == "ResourceNotFoundException"


def test_a_value_is_written_once(
    rotations: SecretRotations,
    rotator: Rotator,
    secrets: "SecretsManagerClient",
    secret: str,
    value: Callable[..., str],
) -> None:
    rotator.fails["finishSecret"] = "no"
    rotations.rotate(secret, TOKEN)
    labels = rotations.labels(secret)

    def write(text: str, label: str) -> None:
        secrets.put_secret_value(SecretId=secret, ClientRequestToken=TOKEN, SecretString=text, VersionStages=[label])

    write(NEW, "AWSCURRENT")  # the same again is ignored, labels and all
    with pytest.raises(secrets.exceptions.ResourceExistsException):
        write("another one", "AWSPENDING")

    assert value(VersionId=TOKEN) == NEW
    assert rotations.labels(secret) == labels


def test_a_version_is_not_found_under_another_label(
    rotations: SecretRotations, rotator: Rotator, secret: str, value: Callable[..., str]
) -> None:
    rotator.fails["setSecret"] = "no"
    rotations.rotate(secret, TOKEN)

    assert value(VersionId=TOKEN, VersionStage="AWSPENDING") == NEW
    assert value(VersionId=TOKEN, VersionStage="AWSCURRENT") == "InvalidRequestException"


def test_rotation_is_enabled_until_it_is_cancelled(
    rotations: SecretRotations, rotator: Rotator, secrets: "SecretsManagerClient", secret: str
) -> None:
    def shown() -> tuple[bool, str]:
        described = secrets.describe_secret(SecretId=secret)
        return described["RotationEnabled"], described["RotationLambdaARN"]

    assert shown() == (True, "hook")
    rotations.cancel(secret)
    assert shown() == (False, "hook")
    assert rotations.step(secret, "setSecret", TOKEN).error == "not staged"
    assert rotator.steps == ["hook.setSecret"]


def test_a_secret_without_a_value_has_no_version(rotations: SecretRotations, secrets: "SecretsManagerClient") -> None:
    bare = secrets.create_secret(Name=f"bare/{uuid4()}")["ARN"]

    rotations.attach(bare, "hook")

    assert rotations.labels(bare) == {}
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=bare)


def test_signatures_and_permissions_are_judged_by_the_embedded_aws(aws: EmbeddedAws, url: str, secret: str) -> None:
    iam = aws.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]

    def as_somebody(secret_access_key: str) -> Any:  # noqa: ANN401 - a client
        return aws.session(key["AccessKeyId"], secret_access_key).client("secretsmanager", endpoint_url=url)

    with pytest.raises(ClientError, match="user/nobody is not authorized"):
        as_somebody(key["SecretAccessKey"]).describe_secret(SecretId=secret)
    with pytest.raises(ClientError, match="signature"):
        as_somebody("wrong").describe_secret(SecretId=secret)
