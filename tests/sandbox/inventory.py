"""What there is in an account of the embedded AWS, whoever made it."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.sandbox.embedded_aws import EmbeddedAws


class _List(NamedTuple):
    """A service's paginated method, where its answer has the items, and where an item has its name, if not itself."""

    service: str
    method: str
    items: str
    name: str | None


LISTS = {
    "AWS::CloudWatch::Alarm": _List("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    "AWS::CloudWatch::Dashboard": _List("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    "AWS::Events::Rule": _List("events", "list_rules", "Rules", "Name"),
    "AWS::IAM::Role": _List("iam", "list_roles", "Roles", "RoleName"),
    "AWS::KMS::Key": _List("kms", "list_keys", "Keys", "KeyId"),
    "AWS::Lambda::EventSourceMapping": _List("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    "AWS::Lambda::Function": _List("lambda", "list_functions", "Functions", "FunctionName"),
    "AWS::Logs::LogGroup": _List("logs", "describe_log_groups", "logGroups", "logGroupName"),
    "AWS::SNS::Topic": _List("sns", "list_topics", "Topics", "TopicArn"),
    "AWS::SQS::Queue": _List("sqs", "list_queues", "QueueUrls", None),
    "AWS::Scheduler::Schedule": _List("scheduler", "list_schedules", "Schedules", "Name"),
    "AWS::Scheduler::ScheduleGroup": _List("scheduler", "list_schedule_groups", "ScheduleGroups", "Name"),
    # No stack makes these.
    "parameters": _List("ssm", "describe_parameters", "Parameters", "Name"),
    "secrets": _List("secretsmanager", "list_secrets", "SecretList", "ARN"),
}

# These have no list of their own: they are parts of functions, topics and queues, and go with them.
PARTS = {
    "AWS::Lambda::Permission",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}


def inventory(aws: EmbeddedAws) -> dict[str, set[str]]:
    """The names of everything by its type; keys that are about to be deleted are gone, for none goes at once."""
    return {kind: set(_names(aws, each)) for kind, each in LISTS.items()}


def _names(aws: EmbeddedAws, what: _List) -> Iterator[str]:
    client = aws.client(what.service)
    for page in client.get_paginator(what.method).paginate():
        for item in page.get(what.items, []):
            name = str(item[what.name] if what.name else item.rpartition("/")[2])
            if what.service != "kms" or _is_in_use(client.describe_key(KeyId=name)["KeyMetadata"]):
                yield name


def _is_in_use(key: dict[str, object]) -> bool:
    return key["KeyState"] != "PendingDeletion"
