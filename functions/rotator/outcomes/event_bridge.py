"""EventBridge's PutEvents, without botocore's client for it: that one takes a tenth of a cold start to make."""

import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, NoCredentialsError

from rotator.aws import session
from rotator.infisical.connect import ssl_context
from rotator.infisical.transport import BoundedTransport, CallTimeouts, RenewedTransport
from rotator.text import clip

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

    from rotator.clock import Clock

# The longest that a call takes, also if it is sent again because its connection was dead.
LONGEST_CALL_SECONDS = 10.0

_CHINA = "cn-"  # what the names of the regions of AWS China begin with

_OPERATION = "PutEvents"


def _connect() -> httpx.BaseTransport:
    return httpx.HTTPTransport(verify=ssl_context(""))


class EventBridge:
    """EventBridge in the function's region, with the function's credentials. Connects at the first call."""

    def __init__(self, clock: "Clock", connect: Callable[[], httpx.BaseTransport] = _connect) -> None:
        self._clock = clock
        self._connect = connect

    def put_events(self, *, Entries: "Sequence[PutEventsRequestEntryTypeDef]") -> dict[str, Any]:  # noqa: N803 - AWS's name
        """Return EventBridge's answer.

        Raises ClientError if the answer is an error, and httpx.TransportError if there is no answer.
        """
        response = self._connections.handle_request(self._signed(json.dumps({"Entries": Entries}).encode()))
        response.read()
        if not response.is_success:
            raise ClientError({"Error": {"Code": _error_code(response), "Message": clip(response.text)}}, _OPERATION)
        answer: dict[str, Any] = response.json()
        return answer

    @cached_property
    def _connections(self) -> BoundedTransport:
        return BoundedTransport(RenewedTransport(self._connect, self._clock), self._clock)

    def _signed(self, body: bytes) -> httpx.Request:
        credentials, region = session().get_credentials(), session().get_config_variable("region")
        if credentials is None:
            raise NoCredentialsError
        url = f"{_endpoint(region)}/"
        headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"AWSEvents.{_OPERATION}"}
        signed = AWSRequest("POST", url, data=body, headers=headers)
        SigV4Auth(credentials.get_frozen_credentials(), "events", region).add_auth(signed)
        timeouts = CallTimeouts(self._clock.monotonic() + LONGEST_CALL_SECONDS, self._clock)
        return httpx.Request(
            "POST",
            url,
            content=body,
            headers={**signed.headers, "Accept-Encoding": "identity"},
            extensions={"timeout": timeouts, "repeatable": True},
        )


def _endpoint(region: str) -> str:
    """The base URL that botocore would call.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    """
    for name in ("AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL"):
        if url := os.environ.get(name):
            return url.rstrip("/")
    suffix = "amazonaws.com.cn" if region.startswith(_CHINA) else "amazonaws.com"
    return f"https://events.{region}.{suffix}"


def _error_code(response: httpx.Response) -> str:
    """The short name of an error: https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html."""
    try:
        return str(response.json()["__type"]).rpartition("#")[2]
    except (ValueError, KeyError, TypeError):
        return f"Http{response.status_code}"
