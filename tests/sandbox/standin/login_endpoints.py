from collections import deque
from typing import TYPE_CHECKING

from tests.sandbox.standin.answers import Payload, Refusal
from tests.sandbox.standin.aws_auth import get_caller_arn, require_allowed, signed_request
from tests.sandbox.standin.routes import Endpoint
from tests.sandbox.standin.sts import Sts
from tests.sandbox.standin.tokens import Tokens
from tests.sandbox.standin.validation import UUID, optional_text, require_texts, with_default

if TYPE_CHECKING:
    from tests.sandbox.standin.identities import Identity


class LoginEndpoints:
    """Everything that answers without an Authorization header. Each way to log in ends in `tokens.issue`.

    `security_tokens` are those of AWS sessions that callers have shown. `refusals` answer the next logins by Universal
    Auth.
    """

    def __init__(self, tokens: Tokens, sts: Sts) -> None:
        self._tokens = tokens
        self._sts = sts
        self.identities: list[Identity] = []
        self.security_tokens: set[str] = set()
        self.refusals: deque[Refusal] = deque()

    def respond(self, endpoint: Endpoint, body: object, at: float) -> Payload:
        match endpoint:
            case Endpoint.UNIVERSAL_AUTH_LOGIN:
                identity = self._universal_auth(body, at)
                return self._tokens.issue(identity, identity.token_policy, at)
            case Endpoint.AWS_AUTH_LOGIN:
                identity = self._aws_auth(body)
                return self._tokens.issue(identity, identity.token_policy, at)
        (token,) = require_texts(body, "accessToken")
        return self._tokens.renew(token, at) if endpoint is Endpoint.RENEW else self._tokens.revoke(token, at)

    def _universal_auth(self, body: object, at: float) -> "Identity":
        client_id, client_secret = require_texts(body, "clientId", "clientSecret")
        slug = optional_text(body, "organizationSlug")
        if self.refusals:
            raise self.refusals.popleft()
        for identity in self.identities:
            if identity.client_id == client_id:
                identity.require_trusted_address("login")
                identity.universal_auth.verify(client_secret, at)
                identity.require_organization(slug)
                return identity
        raise Refusal(401, "Invalid credentials")

    def _aws_auth(self, body: object) -> "Identity":
        identity_id, *signed = require_texts(
            with_default(body, "iamHttpRequestMethod", "POST"),
            "identityId",
            "iamHttpRequestMethod",
            "iamRequestBody",
            "iamRequestHeaders",
        )
        slug = optional_text(body, "organizationSlug")
        if not UUID.fullmatch(identity_id):
            raise Refusal(500, "Something went wrong", "Find one")
        for identity in self.identities:
            if identity.id == identity_id and identity.allowed_principals is not None:
                request = signed_request(*signed)
                self.security_tokens.update(request.headers.get_list("x-amz-security-token"))
                require_allowed(get_caller_arn(request, self._sts), identity.allowed_principals)
                identity.require_organization(slug)
                return identity
        raise Refusal(404, "AWS auth method not found for identity, did you configure AWS auth?")
