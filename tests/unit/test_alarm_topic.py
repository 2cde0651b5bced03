"""Preflight's look at the topic of the alarms: what keeps a person from hearing them, with the next step."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from infisical_rotation_triggers.preflight.alarm_topic import (
    CLOUDWATCH,
    EVENTBRIDGE,
    admits,
    check_alarm_topic,
    publish_test,
    statement,
    statement_for_events,
)

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"
CONFIRMED, PENDING, DELETED = f"{TOPIC}:0b1f0f5e", "PendingConfirmation", "Deleted"
# https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-language-key-concepts.html, shortened
DEFAULT_POLICY = {
    "Statement": [
        {
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": ["SNS:GetTopicAttributes", "SNS:Publish", "SNS:Subscribe"],
            "Resource": TOPIC,
            "Condition": {"StringEquals": {"AWS:SourceOwner": "123456789012"}},
        }
    ]
}
OF_THIS_ACCOUNT = {"Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}
SOMEBODY_ELSES = {
    "Effect": "Allow",
    "Principal": {"Service": "events.amazonaws.com"},
    "Action": "sns:Publish",
    "Resource": TOPIC,
}


class NotFoundException(ClientError):  # noqa: N818 - the name that boto3 gives it
    pass


class Exceptions:
    NotFoundException = NotFoundException


class FakeSns:
    """One topic, or what keeps everybody from it."""

    exceptions = Exceptions

    def __init__(
        self, *subscriptions: str, policy: object = DEFAULT_POLICY, key: str = "", failure: Exception | None = None
    ) -> None:
        self.subscriptions = subscriptions
        self.attributes = {"Policy": json.dumps(policy), "KmsMasterKeyId": key}
        self.failure = failure
        self.published: list[dict[str, str]] = []

    @property
    def client(self) -> "SNSClient":
        return cast("SNSClient", self)

    def get_paginator(self, operation: str) -> "FakeSns":
        assert operation == "list_subscriptions_by_topic"
        return self

    def paginate(self, TopicArn: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's names
        assert TopicArn == TOPIC
        if self.failure:
            raise self.failure
        yield {"Subscriptions": []}
        for arn in self.subscriptions:
            yield {"Subscriptions": [{"SubscriptionArn": arn}]}

    def get_topic_attributes(self, TopicArn: str) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert TopicArn == TOPIC
        return {"Attributes": self.attributes}

    def publish(self, **message: str) -> None:
        self.published.append(message)


def failure(code: str, kind: type[ClientError] = ClientError) -> ClientError:
    return kind({"Error": {"Code": code, "Message": "not for you"}}, "ListSubscriptionsByTopic")


@pytest.mark.parametrize("policy", [DEFAULT_POLICY, {"Statement": statement(TOPIC)}], ids=["SNS's own", "the stack's"])
def test_a_topic_with_a_confirmed_subscription_has_no_problem(policy: object) -> None:
    assert check_alarm_topic(FakeSns(PENDING, CONFIRMED, policy=policy).client, TOPIC, failure_messages=False) == []


@pytest.mark.parametrize(
    ("subscriptions", "what", "step"),
    [
        ([], "the topic has no subscription", "deploy with AlarmEmail"),
        ([PENDING], "none of 1 subscriptions is confirmed", "open the link in SNS's mail, or deploy with AlarmEmail"),
        ([DELETED, PENDING], "none of 2 subscriptions is confirmed", f"aws sns subscribe --topic-arn {TOPIC}"),
    ],
)
def test_a_topic_without_a_confirmed_subscription_is_a_problem(subscriptions: list[str], what: str, step: str) -> None:
    (problem,) = check_alarm_topic(FakeSns(*subscriptions).client, TOPIC, failure_messages=False)

    assert problem.what == f"no alarm reaches a person: {what}"
    assert step in problem.next_step


def test_a_topic_that_does_not_exist_is_a_problem() -> None:
    sns = FakeSns(failure=failure("NotFound", NotFoundException))

    (problem,) = check_alarm_topic(sns.client, TOPIC, failure_messages=False)

    assert problem.what == f"no alarm reaches a person: the topic {TOPIC} does not exist"


def test_a_topic_that_may_not_be_looked_at_is_a_problem_with_the_permissions_it_takes() -> None:
    (problem,) = check_alarm_topic(FakeSns(failure=failure("AuthorizationError")).client, TOPIC, failure_messages=False)

    assert "not for you" in problem.what
    assert "sns:ListSubscriptionsByTopic and sns:GetTopicAttributes" in problem.next_step


def test_a_topic_that_refuses_cloudwatch_is_a_problem_with_the_missing_statement() -> None:
    sns = FakeSns(CONFIRMED, policy={"Statement": [SOMEBODY_ELSES]})

    (problem,) = check_alarm_topic(sns.client, TOPIC, failure_messages=False)

    missing = json.loads(problem.next_step.partition(": ")[2])
    assert missing == {
        "Sid": "AlarmsPublish",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": TOPIC,
        "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:*"}},
    }
    assert admits({"Statement": [SOMEBODY_ELSES, missing]}, CLOUDWATCH)


@pytest.mark.parametrize(
    ("statements", "admitted"),
    [
        ([], False),
        ([SOMEBODY_ELSES], False),
        ([SOMEBODY_ELSES | {"Principal": "*"}], True),
        ([SOMEBODY_ELSES | {"Principal": {"Service": ["events.amazonaws.com", "cloudwatch.amazonaws.com"]}}], True),
        ([SOMEBODY_ELSES | {"Principal": "*", "Action": "sns:*"}], True),
        ([SOMEBODY_ELSES | {"Principal": "*", "Action": ["sns:Subscribe"]}], False),
        ([statement(TOPIC), SOMEBODY_ELSES | {"Effect": "Deny", "Principal": "*"}], False),
        (
            [
                statement(TOPIC),
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:*",
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
            ],
            True,
        ),
    ],
)
def test_a_policy_admits_cloudwatch_only_with_a_statement_that_covers_it(
    statements: list[dict[str, Any]],
    admitted: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    assert admits({"Statement": statements}, CLOUDWATCH) == admitted


@pytest.mark.parametrize("key", ["alias/aws/sns", "arn:aws:kms:eu-central-1:123456789012:alias/aws/sns"])
def test_a_topic_that_is_encrypted_with_awss_key_is_a_problem(key: str) -> None:
    (problem,) = check_alarm_topic(FakeSns(CONFIRMED, key=key).client, TOPIC, failure_messages=False)

    assert "encrypted with alias/aws/sns" in problem.what


def test_a_test_message_says_which_stack_it_is_for() -> None:
    sns = FakeSns(CONFIRMED)

    publish_test(sns.client, TOPIC, "infisical-rotation")

    (message,) = sns.published
    assert message["TopicArn"] == TOPIC
    assert "infisical-rotation" in message["Message"]


@pytest.mark.parametrize(
    ("statements", "admitted"),
    [
        ([statement_for_events(TOPIC)], True),
        (
            [{**statement_for_events(TOPIC), "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}}}],
            False,
        ),
        (DEFAULT_POLICY["Statement"], False),
        ([statement(TOPIC)], False),
        ([statement_for_events(TOPIC), {**statement_for_events(TOPIC), "Effect": "Deny"}], False),
    ],
    ids=["without a condition", "with a condition", "SNS's own", "only CloudWatch", "denied"],
)
def test_eventbridge_is_admitted_only_by_a_statement_without_a_condition(
    statements: list[dict[str, Any]],
    admitted: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    assert admits({"Statement": statements}, EVENTBRIDGE) == admitted


def test_a_topic_that_does_not_admit_eventbridge_is_a_problem_where_there_are_failure_messages() -> None:
    (problem,) = check_alarm_topic(FakeSns(CONFIRMED).client, TOPIC, failure_messages=True)

    assert problem.what.startswith("no message would name a failed rotation")
    assert json.dumps(statement_for_events(TOPIC)) in problem.next_step
