"""A worker that is killed at random moments, and a queue that gives what it had in hand to the next one in seconds."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

from tests.sandbox.aws_calls import operation
from tests.sandbox.deployment import Deployment
from tests.sandbox.outgoing_calls import kill_function
from tests.sandbox.proxy import Layer, Server, proxy
from tests.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WORKER = "RotateFunction"

# A kill strikes after so many requests to Infisical, somewhere in what follows the last one; or in a silence, because
# a worker that watches asks more and more seldom.
MOST_REQUESTS = 90
FOLLOWING_SECONDS = 0.2
SILENT_SECONDS = 2.0

LOOK_SECONDS = 0.005


class ShortVisibility(Layer):
    """SQS, where no message stays invisible for longer than `seconds`, although the worker asks for the full time.

    The embedded one is asked first, as it is, so that it verifies who is asking.
    """

    def __init__(self, below: httpx.AsyncBaseTransport, sqs: "SQSClient", seconds: int) -> None:
        super().__init__(below)
        self._sqs = sqs
        self._seconds = seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if operation(request) == "sqs:ChangeMessageVisibility" and answer.is_success:
            asked: Any = json.loads(request.content)
            if asked["VisibilityTimeout"] > self._seconds:
                shorter = {**asked, "VisibilityTimeout": self._seconds}
                await asyncio.to_thread(self._sqs.change_message_visibility, **shorter)
        return answer


@contextmanager
def short_visibility(stack: Deployment, seconds: int) -> Iterator[None]:
    """Let requests come back after `seconds`, for as long as the block lasts. No attempt may take that long."""
    url, name = stack.outputs["RotationRequestsUrl"], stack.resources("AWS::Lambda::Function")[WORKER]
    attribute: Any = "VisibilityTimeout"
    before = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])["Attributes"]
    variables = stack.lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    with proxy(stack.aws.endpoint, ShortVisibility(Server(), stack.sqs, seconds)) as sqs_url:
        led = {**variables, "AWS_ENDPOINT_URL_SQS": sqs_url}
        try:
            stack.sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: str(seconds)})
            stack.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": led})
            yield
        finally:
            stack.sqs.set_queue_attributes(QueueUrl=url, Attributes=before)
            stack.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


@contextmanager
def killing(deployed: Sandbox, seed: int) -> Iterator[None]:
    """Kill the worker again and again, at random moments of its work, for as long as the block lasts."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(_kill, deployed, Random(seed), stop)  # noqa: S311 - a moment is no secret
        try:
            yield
        finally:
            stop.set()
        killer.result()


def interrupted_batches(stack: Deployment) -> int:
    """How often the worker ended in the middle of a batch so far."""
    name = stack.resources("AWS::Lambda::Function")[WORKER]
    return stack.aws.log.read_text().count(f"Lambda {name} failed processing SQS batch")


def _kill(deployed: Sandbox, random: Random, stop: threading.Event) -> None:
    name = deployed.stack.resources("AWS::Lambda::Function")[WORKER]
    while not stop.is_set():
        _wait_for_requests(deployed.infisical.requests, random.randint(1, MOST_REQUESTS), stop)
        if not stop.wait(random.uniform(0, FOLLOWING_SECONDS)):
            kill_function(deployed.stack.aws, name)


def _wait_for_requests(journal: Sized, number: int, stop: threading.Event) -> None:
    """Wait for so many further ones, or after the first of them for a silence."""
    before = heard = len(journal)
    heard_at = time.monotonic()
    while heard < before + number and not stop.wait(LOOK_SECONDS):
        if len(journal) > heard:
            heard, heard_at = len(journal), time.monotonic()
        elif heard > before and time.monotonic() - heard_at > SILENT_SECONDS:
            return
