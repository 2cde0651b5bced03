"""Whether a request is signed as AWS Signature Version 4 wants it, found out by signing it again."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Self

import httpx
from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key_id>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<headers>[^, ]+), Signature=[0-9a-f]{64}"
)
SKEW_SECONDS = 15 * 60


@dataclass(frozen=True)
class Signature:
    request: httpx.Request
    key_id: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signed_at: datetime

    @classmethod
    def of(cls, request: httpx.Request) -> Self | None:
        """None where a part is missing, or something is left unsigned that AWS wants to be signed."""
        headers = request.headers
        parts = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if not parts:
            return None
        signed = tuple(parts["headers"].split(";"))
        must_be_signed = {"x-amz-date", *(name for name in headers if name.startswith("x-amz-"))}
        if not must_be_signed <= set(signed) <= set(headers):
            return None
        try:
            signed_at = datetime.strptime(headers["x-amz-date"], SIGV4_TIMESTAMP).replace(tzinfo=UTC)
        except ValueError:
            return None
        return cls(request, parts["key_id"], parts["region"], parts["service"], signed, signed_at)

    def is_made_by(self, credentials: ReadOnlyCredentials, now: float) -> bool:
        content_hash = sha256(self.request.content).hexdigest()
        return (
            abs(now - self.signed_at.timestamp()) <= SKEW_SECONDS
            and self.request.headers.get("x-amz-content-sha256", content_hash) == content_hash
            and self.request.headers["authorization"] == self._again(credentials)
        )

    def _again(self, credentials: ReadOnlyCredentials) -> str:
        """Return the Authorization header that these credentials give this request.

        `SigV4Auth.add_auth` would do, but it signs by its own clock.
        """
        request = AWSRequest(
            self.request.method,
            str(self.request.url),
            headers={name: self.request.headers[name] for name in self.signed_headers},
            data=self.request.content,
        )
        request.context["timestamp"] = self.request.headers["x-amz-date"]
        signer = SigV4Auth(credentials, self.service, self.region)
        signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        return (
            f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
            f"SignedHeaders={';'.join(self.signed_headers)}, Signature={signature}"
        )
