"""Which events of a secret are an occurrence: those after which AWSCURRENT stands at another value."""

import json
from pathlib import Path
from typing import Any

import pytest

from rotator.triggers.events import UnsupportedEventError, read_trigger
from rotator.triggers.secret_events import why_ignored
from tests.unit.fakes import NOW

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payments/deployer-AbCdEf"
EVENTS = Path(__file__).parents[2] / "events"


def call(name: str, parameters: object = None, **detail: object) -> dict[str, Any]:
    """A call of Secrets Manager as CloudTrail records it: without the values, https://docs.aws.amazon.com/secretsmanager/latest/userguide/cloudtrail_log_entries.html."""
    fields = {"eventName": name, "requestParameters": parameters, "responseElements": {"arn": ARN}} | detail
    return event("AWS API Call via CloudTrail", fields)


def event(kind: str, detail: object, *resources: str) -> dict[str, Any]:
    return {
        "source": "aws.secretsmanager",
        "detail-type": kind,
        "time": "2026-11-22T04:00:00Z",
        "resources": list(resources),
        "detail": detail,
    }


def label(**detail: object) -> dict[str, Any]:
    return event("Secret Label Updated", {"name": "payments/deployer", "versionId": "v"} | detail, ARN)


def service(name: str) -> dict[str, Any]:
    return event("AWS Service Event via CloudTrail", {"eventName": name, "additionalEventData": {"SecretId": ARN}})


TOKEN = {"secretId": ARN, "clientRequestToken": "b0a1f2ab-3bb1-4f0e-8a2e-5f6a3c0f9c01"}
HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"


@pytest.mark.parametrize(
    "occurrence",
    [
        call("PutSecretValue", TOKEN),
        call("PutSecretValue"),
        call("PutSecretValue", TOKEN | {"versionStages": None}),
        call("PutSecretValue", TOKEN | {"versionStages": ["MINE", "AWSCURRENT"]}),
        call("UpdateSecret", TOKEN | {"description": "new", "secretString": HIDDEN}),
        call("UpdateSecret", TOKEN | {"secretBinary": HIDDEN}),
        call("UpdateSecretVersionStage", {"secretId": ARN, "versionStage": "AWSCURRENT", "moveToVersionId": "v"}),
        service("RotationSucceeded"),
        label(labelUpdated="AWSCURRENT"),
    ],
    ids=json.dumps,
)
def test_an_event_after_which_the_current_value_is_another_is_an_occurrence(occurrence: dict[str, Any]) -> None:
    assert why_ignored(occurrence) == ""
    assert read_trigger(occurrence, NOW).name == ARN


@pytest.mark.parametrize(
    ("ignored", "why"),
    [
        (call("UpdateSecret", {"secretId": ARN, "description": "new"}), "UpdateSecret"),
        (call("UpdateSecret", TOKEN | {"kmsKeyId": "alias/mine"}), "UpdateSecret"),
        (call("UpdateSecret"), "UpdateSecret"),
        (call("PutSecretValue", TOKEN | {"versionStages": ["AWSPENDING"]}), "AWSPENDING"),
        (call("PutSecretValue", TOKEN | {"versionStages": ["AWSPENDING", "MINE"]}), "AWSCURRENT"),
        (call("UpdateSecretVersionStage", {"secretId": ARN, "versionStage": "AWSPENDING"}), "AWSPENDING"),
        (call("UpdateSecretVersionStage", {"secretId": ARN, "versionStage": "AWSPREVIOUS"}), "AWSPREVIOUS"),
        (call("UpdateSecretVersionStage", {"secretId": ARN}), "AWSCURRENT"),
        (call("RotateSecret", TOKEN), "RotationSucceeded"),
        (call("PutSecretValue", TOKEN, errorCode="ResourceNotFoundException"), "ResourceNotFoundException"),
        (service("RotationStarted"), "RotationSucceeded"),
        (label(labelUpdated="MINE"), "MINE"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_an_event_that_leaves_the_current_value_as_it_is_is_ignored_and_says_why(
    ignored: dict[str, Any], why: str
) -> None:
    assert why in why_ignored(ignored)
    with pytest.raises(UnsupportedEventError):
        read_trigger(ignored, NOW)


@pytest.mark.parametrize(
    "other",
    [
        service("RotationFailed"),
        call("DeleteSecret", TOKEN),
        call("GetSecretValue", TOKEN),
        event("Secret Label Updated", {"labelUpdated": "AWSCURRENT"}),
        event("Secret Label Updated", {}, ARN),
        event("Secret Label Updated", None, ARN),
        {"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": {"eventName": "RotateSecret"}},
        {"trigger": "weekly"},
        [],
        None,
    ],
    ids=json.dumps,
)
def test_an_event_of_another_kind_is_not_ignored(other: object) -> None:
    assert why_ignored(other) == ""


def test_no_sample_event_is_ignored() -> None:
    samples = [json.loads(path.read_text("utf-8")) for path in EVENTS.glob("*.json")]

    assert [why_ignored(sample) for sample in samples] == [""] * len(samples)
