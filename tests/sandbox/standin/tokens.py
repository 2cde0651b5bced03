"""Access tokens: signed, dated, counted, revocable."""

import base64
import hashlib
import hmac
import json
import math
import secrets
from dataclasses import dataclass
from uuid import uuid4

from tests.sandbox.standin.answers import Payload, Refusal
from tests.sandbox.standin.identities import Identity, TokenPolicy

BEARER = "Bearer "


@dataclass
class Grant:
    """What the server keeps of a token; a renewed token is the same grant."""

    identity: Identity
    policy: TokenPolicy
    issued_at: float
    uses: int = 0


class Tokens:
    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._grants: dict[str, Grant] = {}
        self._expired: set[str] = set()
        self.issued: list[str] = []

    def issue(self, identity: Identity, policy: TokenPolicy, at: float) -> Payload:
        grant_id = str(uuid4())
        self._grants[grant_id] = Grant(identity, policy, at)
        return self._payload(grant_id, policy, at)

    def authenticate(self, authorization: str | None, at: float) -> Identity:
        if authorization is None:
            raise Refusal(401, "Token missing")
        grant_id = self._verified(authorization[len(BEARER) :], at)
        grant = self._grants.get(grant_id)
        if grant is None:
            raise Refusal(401, "Failed to authorize: token has been revoked")
        grant.identity.require_trusted_address("call")
        if grant.uses == grant.policy.use_limit:
            del self._grants[grant_id]
            raise Refusal(401, "Unable to renew because access token number of uses limit reached")
        grant.uses += 1
        return grant.identity

    def renew(self, token: str, at: float) -> Payload:
        grant_id = self._verified(token, at)
        grant = self._grants.get(grant_id)
        if grant is None:
            raise Refusal(401, "No identity access token found")
        longest = grant.policy.max_ttl_seconds or math.inf
        if at + grant.policy.ttl_seconds > grant.issued_at + longest:
            raise Refusal(401, "Failed to renew MI access token past its Max TTL expiration")
        return self._payload(grant_id, grant.policy, at)

    def revoke(self, token: str, at: float) -> Payload:
        if self._grants.pop(self._verified(token, at), None) is None:
            raise Refusal(401, "No identity access token found")
        return {"message": "Successfully revoked access token"}

    def revoke_all(self) -> None:
        self._grants.clear()

    def expire_all(self) -> None:
        self._expired.update(self._grants)

    def _payload(self, grant_id: str, policy: TokenPolicy, at: float) -> Payload:
        expiry = {"exp": at + policy.ttl_seconds} if policy.ttl_seconds else {}
        token = self._signed({"identityAccessTokenId": grant_id, "iat": at, **expiry})
        self.issued.append(token)
        return {
            "accessToken": token,
            "expiresIn": policy.ttl_seconds,
            "accessTokenMaxTTL": policy.max_ttl_seconds,
            "tokenType": "Bearer",
        }

    def _verified(self, token: str, at: float) -> str:
        if not token:
            raise Refusal(403, "jwt must be provided", "TokenError")
        signed, _, signature = token.rpartition(".")
        try:
            _, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        except ValueError:
            text = (
                "The provided access token is malformed. Please use a valid token or generate a new one and try again."
            )
            raise Refusal(403, text, "TokenError") from None
        if signature != self._signature(signed):
            raise Refusal(403, "invalid signature", "TokenError")
        grant_id: str = claims["identityAccessTokenId"]
        if at >= claims.get("exp", math.inf) or grant_id in self._expired:
            raise Refusal(403, "Your token has expired. Please re-authenticate.", "TokenError")
        return grant_id

    def _signed(self, claims: Payload) -> str:
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        return f"{signed}.{self._signature(signed)}"

    def _signature(self, signed: str) -> str:
        return _encoded(hmac.new(self._key, signed.encode(), hashlib.sha256).digest())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
