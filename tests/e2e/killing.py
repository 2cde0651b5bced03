"""A worker that is killed at random moments, and a queue that gives what it had in hand to the next one in seconds."""

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from random import Random
from typing import TYPE_CHECKING, Any

import httpx

from rotator.rotation.queues import CLAIM_SECONDS
from tests.sandbox.aws_calls import operation
from tests.sandbox.deployment import Deployment, wait_until
from tests.sandbox.outgoing_calls import kill_function
from tests.sandbox.proxy import Layer, Server, proxy
from tests.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WORKER = "RotateFunction"

# A kill strikes after so many requests to Infisical, somewhere in what follows the last one; or in a silence, because
# a worker that watches asks more and more seldom.
MOST_REQUESTS = 150
FOLLOWING_SECONDS = 0.2
SILENT_SECONDS = 2.0

LOOK_SECONDS = 0.005


class ShortVisibility(Layer):
    """SQS, where no message stays invisible for longer than `seconds`, although the worker asks for the full time.

    A claim is left as it is, and its receipt handle noted: a request without key guard must not return after it.
    The embedded one is asked first, as it is, so that it verifies who is asking.
    """

    def __init__(self, below: httpx.AsyncBaseTransport, sqs: "SQSClient", seconds: int) -> None:
        super().__init__(below)
        self._sqs = sqs
        self._seconds = seconds
        self.claims: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if operation(request) == "sqs:ChangeMessageVisibility" and answer.is_success:
            asked: Any = json.loads(request.content)
            if asked["VisibilityTimeout"] == CLAIM_SECONDS:
                self.claims.append(asked["ReceiptHandle"])
            elif asked["VisibilityTimeout"] > self._seconds:
                shorter = {**asked, "VisibilityTimeout": self._seconds}
                await asyncio.to_thread(self._sqs.change_message_visibility, **shorter)
        return answer


class KilledAtFirstCall(Layer):
    """Kills the worker at its first call, which the server never receives."""

    def __init__(self, stack: Deployment) -> None:
        super().__init__(Server())
        self._stack = stack
        self.kills = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.kills == 0:
            self.kills += 1
            kill_function(self._stack.aws, self._stack.resources("AWS::Lambda::Function")[WORKER])
            raise httpx.ConnectError("the caller was killed", request=request)
        return await super().handle_async_request(request)


@contextmanager
def calling_through(stack: Deployment, service: str, layer: Layer) -> Iterator[None]:
    """Lead the worker's calls of one service, named as botocore's variables name it, through a layer."""
    name = stack.resources("AWS::Lambda::Function")[WORKER]
    variables = stack.lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    with proxy(stack.aws.endpoint, layer) as url:
        led = {**variables, f"AWS_ENDPOINT_URL_{service}": url}
        stack.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": led})
        try:
            yield
        finally:
            stack.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


@contextmanager
def short_visibility(stack: Deployment, seconds: int) -> Iterator[list[str]]:
    """Let requests return after `seconds`, for as long as the block lasts. No attempt may take that long.

    Yield the receipt handles of the messages that were claimed, and that do not return.
    """
    url = stack.outputs["RotationRequestsUrl"]
    attribute: Any = "VisibilityTimeout"
    before = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[attribute])["Attributes"]
    layer = ShortVisibility(Server(), stack.sqs, seconds)
    with calling_through(stack, "SQS", layer):
        try:
            stack.sqs.set_queue_attributes(QueueUrl=url, Attributes={attribute: str(seconds)})
            yield layer.claims
        finally:
            stack.sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def wait_until_quiet(deployed: Sandbox, quiet_seconds: float, seconds: float) -> None:
    """Wait until Infisical is not asked for so long: nothing is being worked, and nothing returns any more."""
    heard, heard_at = -1, 0.0

    def is_quiet() -> bool:
        nonlocal heard, heard_at
        if len(deployed.infisical.requests) > heard:
            heard, heard_at = len(deployed.infisical.requests), time.monotonic()
        return time.monotonic() - heard_at > quiet_seconds

    wait_until("silence", is_quiet, seconds)


def take_claimed(stack: Deployment, claims: Iterable[str]) -> set[str]:
    """Take what is left in the queue away from the worker; return the rotations. Only claimed requests may be left."""
    url = stack.outputs["RotationRequestsUrl"]
    with paused(stack):
        depth = stack.depth("RotationRequestsUrl")
        for receipt_handle in claims:
            with suppress(stack.sqs.exceptions.ReceiptHandleIsInvalid):  # it was acknowledged
                stack.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt_handle, VisibilityTimeout=0)
        taken = stack.take("RotationRequestsUrl")
    assert len(taken) == depth
    return {str(request["rotationId"]) for request in taken}


@contextmanager
def paused(stack: Deployment) -> Iterator[None]:
    """Let the worker receive no requests, for as long as the block lasts."""
    arn = _arn(stack, stack.outputs["RotationRequestsUrl"])
    (mapping,) = stack.lambda_.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    stack.lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        stack.lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def _arn(stack: Deployment, url: str) -> str:
    name: Any = "QueueArn"
    return stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name]


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
