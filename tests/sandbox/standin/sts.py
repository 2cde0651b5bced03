"""AWS's STS as the server reaches it: a real one that an endpoint stands for, or one in memory."""

import re
import secrets
import time
from typing import Protocol
from urllib.parse import parse_qs

import httpx
from botocore.credentials import ReadOnlyCredentials

from tests.sandbox.standin.clock import Clock
from tests.sandbox.standin.signatures import Signature


class StsError(Exception):
    """STS refused or could not be reached. The caller of the server never learns what it said."""


class Sts(Protocol):
    def get_caller_arn(self, request: httpx.Request) -> str:
        """Return who signed this GetCallerIdentity for https://sts.REGION.amazonaws.com/; raise StsError."""


class ForwardingSts:
    """Sends every request, signed as it is, to an endpoint that stands for STS in all regions."""

    _ANSWER = re.compile(r"<GetCallerIdentityResult>.*<Arn>([^<]+)</Arn>", re.DOTALL)

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def get_caller_arn(self, request: httpx.Request) -> str:
        try:
            response = httpx.request(
                request.method, self._endpoint, headers=request.headers, content=request.content, trust_env=False
            )
        except httpx.HTTPError as error:
            raise StsError(str(error)) from error
        answer = self._ANSWER.search(response.text)
        if answer is None:
            raise StsError(response.text)
        return answer[1]


class MemorySts:
    """Knows its `callers` by their access key ids, and verifies their signatures; a key taken out of it is deleted.

    The clock is the one by which they sign: botocore signs by the real one.
    """

    def __init__(self, clock: Clock = time) -> None:
        self._clock = clock
        self.callers: dict[str, tuple[ReadOnlyCredentials, str]] = {}

    def issue(self, arn: str) -> ReadOnlyCredentials:
        """Return the keys of a user, or those of a role's session: they come with a token."""
        is_session = ":assumed-role/" in arn
        key_id = ("ASIA" if is_session else "AKIA") + secrets.token_hex(8).upper()
        credentials = ReadOnlyCredentials(
            key_id, secrets.token_urlsafe(30), secrets.token_urlsafe(200) if is_session else None
        )
        self.callers[key_id] = (credentials, arn)
        return credentials

    def get_caller_arn(self, request: httpx.Request) -> str:
        signature = Signature.of(request)
        if signature is None:
            raise StsError("IncompleteSignature")
        if signature.key_id not in self.callers:
            raise StsError("InvalidClientTokenId")
        credentials, arn = self.callers[signature.key_id]
        if request.headers.get("x-amz-security-token") != credentials.token:
            raise StsError("InvalidClientTokenId")
        if not signature.is_made_by(credentials, self._clock.time()):
            raise StsError("SignatureDoesNotMatch")
        if parse_qs(request.content).get(b"Action") != [b"GetCallerIdentity"]:
            raise StsError("InvalidAction")
        return arn
