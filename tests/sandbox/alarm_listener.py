"""Somebody who hears what the alarm topic receives: a queue that subscribes to it."""

import json

from tests.sandbox.deployment import Deployment

NAME = "alarm-listener"


class AlarmListener:
    """Receives every message of a stack's alarm topic."""

    def __init__(self, stack: Deployment) -> None:
        self._sqs = stack.sqs
        self._url = self._sqs.create_queue(QueueName=NAME)["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]
        topic, queue = stack.outputs["AlarmTopic"], attributes["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": json.dumps(policy)})
        stack.aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
        self._messages: list[str] = []

    def about(self, text: str) -> list[str]:
        """Every message so far that has this text in it, as its subscriber reads it."""
        while received := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in received:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
                self._messages.append(json.loads(message["Body"])["Message"])
        return [message for message in self._messages if text in message]
