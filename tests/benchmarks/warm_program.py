"""A process that rotates, warm, and says what a rotation costs it. It holds what Lambda brings, and an artifact.

What to do comes as JSON on standard input: `side`, `url`, `token`, `rotations`, `guarded`, `again`.
"""

import http.client
import json
import ssl
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
import certifi
import httpx

PREFIX = "/api/v2/secret-rotations/aws-iam-user-secret"
WARMING = 10  # of the rotations count for nothing

Rotate = Callable[[str], object]


def main() -> None:
    asked = json.load(sys.stdin)
    rotate = SIDES[asked["side"]](asked)
    ids = asked["rotations"]
    for rotation_id in ids[:WARMING]:
        rotate(rotation_id)
    started = time.process_time()
    for rotation_id in ids[WARMING:]:
        rotate(rotation_id)
    print(json.dumps((time.process_time() - started) / len(ids[WARMING:])))


def ours(asked: dict[str, Any]) -> Rotate:
    import rotate as function  # noqa: PLC0415 - the other sides do without
    from rotator.clock import Deadline  # noqa: PLC0415
    from rotator.model import GuardOptions, MappedRotation, RotationOptions  # noqa: PLC0415
    from rotator.rotation.attempt import ensure_rotated  # noqa: PLC0415
    from rotator.rotation.request import RotationRequest  # noqa: PLC0415

    program = function.compose()
    guard = GuardOptions() if asked["guarded"] else None
    now = datetime.now(UTC)
    expected = "skipped" if asked["again"] else "rotated"

    def rotate(rotation_id: str) -> None:
        request = RotationRequest(
            MappedRotation(rotation_id, options=RotationOptions(guard=guard)), "weekly", now, "benchmark"
        )
        for _ in range(1 + asked["again"]):
            deadline = Deadline(time.monotonic() + 170, time)
            outcome = ensure_rotated(program.infisical, program.decide, request, lambda: None, deadline)
        if outcome.result != expected:
            raise RuntimeError(str(outcome))

    return rotate


def bare_httpx(asked: dict[str, Any]) -> Rotate:
    headers = {"Authorization": f"Bearer {asked['token']}"}
    client = httpx.Client(base_url=asked["url"], headers=headers, timeout=35)
    look = _look(asked["guarded"])

    def rotate(rotation_id: str) -> None:
        state = client.get(f"{PREFIX}/{rotation_id}").raise_for_status().json()
        look(state)
        client.post(f"{PREFIX}/{rotation_id}/rotate-secrets").raise_for_status().json()

    return rotate


def bare_http_client(asked: dict[str, Any]) -> Rotate:
    url = urlsplit(asked["url"])
    context = ssl.create_default_context(cafile=certifi.where())
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=35, context=context)
    headers = {"Authorization": f"Bearer {asked['token']}"}
    look = _look(asked["guarded"])

    def call(method: str, path: str) -> Any:  # noqa: ANN401 - JSON
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != http.client.OK:
            raise RuntimeError(str(answer))
        return answer

    def rotate(rotation_id: str) -> None:
        look(call("GET", f"{PREFIX}/{rotation_id}"))
        call("POST", f"{PREFIX}/{rotation_id}/rotate-secrets")

    return rotate


def _look(guarded: bool) -> Callable[[Any], object]:  # noqa: FBT001 - said by its name
    """The key guard's calls, where they are made."""
    if not guarded:
        return lambda _: None
    iam = boto3.client("iam")

    def look(state: Any) -> None:  # noqa: ANN401 - JSON
        user = state["secretRotation"]["parameters"]["userName"]
        keys = iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        oldest = min(keys, key=lambda key: key["CreateDate"])
        iam.get_access_key_last_used(AccessKeyId=oldest["AccessKeyId"])

    return look


SIDES: dict[str, Callable[[dict[str, Any]], Rotate]] = {
    "ours": ours,
    "httpx": bare_httpx,
    "http.client": bare_http_client,
}

if __name__ == "__main__":
    main()
