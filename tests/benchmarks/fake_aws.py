"""As much of AWS as the functions call in these measurements, as fast as a socket can answer."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox.standin.keys import MemoryKeys

MIRROR = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror/deployer-AbCdEf"
TOKEN = "b1f0f5e3-3a52-4a5e-9b35-6f1f2f0f00ff"


class FakeAws:
    """IAM with the keys of `keys`, SQS that takes everything, an SSM parameter, and one secret that is being rotated.

    `calls` counts them by their names, and `at_most_at_once` is how many messages calls SQS was given side by side.
    """

    def __init__(self, keys: MemoryKeys, sqs_seconds: float = 0.0) -> None:
        self._keys = keys
        self._sqs_seconds = sqs_seconds
        self._sending = 0
        self.rotation_map = "{}"
        self.calls: Counter[str] = Counter()
        self.messages = 0
        self.at_most_at_once = 0
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
            "SendMessage": self._send,
            "ChangeMessageVisibility": lambda _: {},
            "GetParameter": lambda asked: {"Parameter": {"Name": asked["Name"], "Value": self.rotation_map}},
            "DescribeSecret": _describe_secret,
            "GetSecretValue": _secret_value,
            "PutEvents": _put_events,
            "PutSecretValue": lambda _: {"ARN": MIRROR},
        }

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        target = request.headers.get("x-amz-target")
        if target is None:
            return self._iam({name: values[0] for name, values in parse_qs(body.decode()).items()})
        operation = target.rpartition(".")[2]
        self.calls[operation] += 1
        if operation == "SendMessageBatch":
            return _json(await self._send_batch(json.loads(body)))
        answer = self._operations[operation](json.loads(body))
        if answer is None:
            return _json({"__type": "ResourceNotFoundException", "Message": "none"}, HTTPStatus.BAD_REQUEST)
        return _json(answer)

    def _iam(self, asked: dict[str, str]) -> Response:
        action = asked["Action"]
        self.calls[action] += 1
        result = _last_used() if action == "GetAccessKeyLastUsed" else self._listed(asked["UserName"])
        text = f'<{action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">{result}</{action}Response>'
        return Response(text, media_type="text/xml")

    def _listed(self, user: str) -> str:
        keys = "".join(_member(user, key.id, key.created_at) for key in self._keys.list_access_keys(user))
        metadata = f"<AccessKeyMetadata>{keys}</AccessKeyMetadata><IsTruncated>false</IsTruncated>"
        return f"<ListAccessKeysResult>{metadata}</ListAccessKeysResult>"

    def _send(self, _: dict[str, Any]) -> dict[str, Any]:
        self.messages += 1
        return {"MessageId": str(self.messages)}

    async def _send_batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._sending += 1
        self.at_most_at_once = max(self.at_most_at_once, self._sending)
        await asyncio.sleep(self._sqs_seconds)
        self._sending -= 1
        return {"Successful": [{"Id": entry["Id"], **self._send(entry)} for entry in asked["Entries"]], "Failed": []}


def _member(user: str, key_id: str, created_at: datetime) -> str:
    return (
        f"<member><UserName>{user}</UserName><AccessKeyId>{key_id}</AccessKeyId><Status>Active</Status>"
        f"<CreateDate>{created_at:%Y-%m-%dT%H:%M:%SZ}</CreateDate></member>"
    )


def _last_used() -> str:
    use = "<ServiceName>N/A</ServiceName><Region>N/A</Region>"
    return f"<GetAccessKeyLastUsedResult><AccessKeyLastUsed>{use}</AccessKeyLastUsed></GetAccessKeyLastUsedResult>"


def _put_events(asked: dict[str, Any]) -> dict[str, Any]:
    return {"FailedEntryCount": 0, "Entries": [{"EventId": "event"} for _ in asked["Entries"]]}


def _describe_secret(_: dict[str, Any]) -> dict[str, Any]:
    return {"ARN": MIRROR, "RotationEnabled": True, "VersionIdsToStages": {TOKEN: ["AWSPENDING"]}}


def _secret_value(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The current version lags behind; the pending one has no value yet."""
    if "VersionId" in asked:
        return None
    return {"ARN": MIRROR, "SecretString": '{"accessKeyId": "AKIAOLD", "secretAccessKey": "old"}'}


def _json(answer: dict[str, Any], status: int = HTTPStatus.OK) -> Response:
    return Response(json.dumps(answer), status, media_type="application/x-amz-json-1.0")
