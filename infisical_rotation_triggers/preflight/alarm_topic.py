"""Checks that somebody hears the alarms: the topic's subscriptions, its policy, and the key that encrypts it.

The statement that CloudWatch needs: https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html
The one that EventBridge needs: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-troubleshooting.html
The key that it cannot use: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
"""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from infisical_rotation_triggers.preflight.checks import Problem

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

THE_ALARMS = "the alarms"

CLOUDWATCH, EVENTBRIDGE = "cloudwatch.amazonaws.com", "events.amazonaws.com"
AWS_MANAGED_KEY = "alias/aws/sns"
TEST_SUBJECT = "Test of the alarms"
TEST_MESSAGE = "This is a test, sent by preflight. If you read it, you also receive the alarms of the stack {}."

_SUBSCRIBE = (
    "deploy with AlarmEmail, and let its owner confirm within 48 hours; or add a subscriber, which has to confirm:"
    " aws sns subscribe --topic-arn {} --protocol email --notification-endpoint you@example.com"
)
_NOBODY = "no alarm reaches a person: "


def check_alarm_topic(sns: "SNSClient", topic_arn: str, *, failure_messages: bool) -> list[Problem]:
    """Check that a person receives what a topic receives: alarms, and the messages about failures if there are any."""
    try:
        subscriptions = _subscriptions(sns, topic_arn)
        attributes = sns.get_topic_attributes(TopicArn=topic_arn)["Attributes"]
    except sns.exceptions.NotFoundException:
        return [Problem(f"{_NOBODY}the topic {topic_arn} does not exist", "deploy with the ARN of one that does")]
    except ClientError as error:
        return [
            Problem(
                f"the topic that receives them cannot be read: {error}",
                "run this with sns:ListSubscriptionsByTopic and sns:GetTopicAttributes on the topic",
            )
        ]
    found = [
        _check_subscriptions(subscriptions, topic_arn),
        _check_policy(attributes, topic_arn),
        _check_policy_for_events(attributes, topic_arn) if failure_messages else None,
        _check_key(attributes),
    ]
    return [problem for problem in found if problem]


def publish_test(sns: "SNSClient", topic_arn: str, stack: str) -> None:
    """Publish one message to the topic."""
    sns.publish(TopicArn=topic_arn, Subject=TEST_SUBJECT, Message=TEST_MESSAGE.format(stack))


def _subscriptions(sns: "SNSClient", topic_arn: str) -> list[str]:
    """The ARNs of all subscriptions; one that is not confirmed has none, but a word in its place."""
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic_arn)
    return [each["SubscriptionArn"] for page in pages for each in page["Subscriptions"]]


def _check_subscriptions(subscriptions: Iterable[str], topic_arn: str) -> Problem | None:
    listed = list(subscriptions)
    if any(arn.startswith("arn:") for arn in listed):
        return None
    why = f"none of {len(listed)} subscriptions is confirmed" if listed else "the topic has no subscription"
    confirm = f"let the owner of the address open the link in SNS's mail, or {_SUBSCRIBE.format(topic_arn)}"
    return Problem(f"{_NOBODY}{why}", confirm if listed else _SUBSCRIBE.format(topic_arn))


def _check_policy(attributes: Mapping[str, str], topic_arn: str) -> Problem | None:
    if admits(_policy(attributes), CLOUDWATCH):
        return None
    return Problem(
        f"{_NOBODY}the topic's policy does not let CloudWatch publish",
        f"add this statement to it: {json.dumps(statement(topic_arn))}",
    )


def _check_policy_for_events(attributes: Mapping[str, str], topic_arn: str) -> Problem | None:
    if admits(_policy(attributes), EVENTBRIDGE):
        return None
    return Problem(
        "no message would name a failed rotation: the topic's policy does not let EventBridge publish",
        f"add this statement to it: {json.dumps(statement_for_events(topic_arn))}",
    )


def _policy(attributes: Mapping[str, str]) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(attributes.get("Policy") or "{}")
    return policy


def _check_key(attributes: Mapping[str, str]) -> Problem | None:
    if not attributes.get("KmsMasterKeyId", "").endswith(AWS_MANAGED_KEY):
        return None
    return Problem(
        f"{_NOBODY}CloudWatch cannot publish to a topic that is encrypted with {AWS_MANAGED_KEY}",
        f"encrypt it with a key of your own that lets {CLOUDWATCH} use kms:Decrypt and kms:GenerateDataKey*",
    )


def admits(policy: Mapping[str, Any], service: str) -> bool:
    """Whether a topic's policy lets a service publish: some statement does, and none denies it to everybody.

    Conditions are not looked at for CloudWatch: those of SNS's own default policy name the account.
    EventBridge fills no condition key when it publishes to a topic, so a statement with a condition allows it nothing.
    """
    statements = policy.get("Statement", [])
    about = [
        each for each in (statements if isinstance(statements, list) else [statements]) if _is_about(each, service)
    ]
    plain = [each for each in about if "Condition" not in each]
    allows = any(each["Effect"] == "Allow" for each in (plain if service == EVENTBRIDGE else about))
    return allows and not any(each["Effect"] == "Deny" for each in plain)


def _is_about(statement: Mapping[str, Any], service: str) -> bool:
    actions, principal = statement.get("Action", []), statement.get("Principal", {})
    services = ["*"] if principal == "*" else [*_list(principal.get("Service")), *_list(principal.get("AWS"))]
    publishes = any(fnmatchcase("sns:publish", action.lower()) for action in _list(actions))
    return publishes and any(each in {service, "*"} for each in services)


def _list(value: str | list[str] | None) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def statement(topic_arn: str) -> dict[str, Any]:
    """The statement that lets the alarms of the topic's account and region publish."""
    _, partition, _, region, account, _ = topic_arn.split(":")
    return {
        "Sid": "AlarmsPublish",
        "Effect": "Allow",
        "Principal": {"Service": CLOUDWATCH},
        "Action": "sns:Publish",
        "Resource": topic_arn,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:{partition}:cloudwatch:{region}:{account}:alarm:*"}},
    }


def statement_for_events(topic_arn: str) -> dict[str, Any]:
    """The statement that lets the rule FailureMessages publish."""
    return {
        "Sid": "FailureMessagesPublish",
        "Effect": "Allow",
        "Principal": {"Service": EVENTBRIDGE},
        "Action": "sns:Publish",
        "Resource": topic_arn,
    }
