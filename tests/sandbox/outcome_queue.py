"""A consumer of outcome events: a rule on the default bus, and a queue that it sends them to."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.sandbox.deployment import Deployment

NAME = "outcome-events"


DENIAL = '{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "events:PutEvents", "Resource": "*"}}'


@contextmanager
def denied_events(stack: Deployment) -> Iterator[None]:
    """Let `rotate` put no event."""
    role = stack.resources("AWS::IAM::Role")["RotateRole"]
    stack.iam.put_role_policy(RoleName=role, PolicyName=NAME, PolicyDocument=DENIAL)
    try:
        yield
    finally:
        stack.iam.delete_role_policy(RoleName=role, PolicyName=NAME)


class OutcomeQueue:
    """Receives every outcome event of this account."""

    def __init__(self, stack: Deployment) -> None:
        self._sqs = stack.sqs
        self._url = self._sqs.create_queue(QueueName=NAME)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        stack.events.put_rule(Name=NAME, EventPattern=json.dumps({"source": ["infisical-rotation"]}))
        stack.events.put_targets(Rule=NAME, Targets=[{"Id": "queue", "Arn": attributes["QueueArn"]}])
        self._events: list[dict[str, Any]] = []

    def events(self) -> list[dict[str, Any]]:
        """Every event so far."""
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                self._events.append(json.loads(message["Body"]))
        return list(self._events)

    def ends_of(self, rotation_id: str) -> list[dict[str, Any]]:
        """The details about a rotation."""
        return [each["detail"] for each in self.events() if each["detail"].get("rotation_id") == rotation_id]
