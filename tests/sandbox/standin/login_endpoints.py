from typing import TYPE_CHECKING

from tests.sandbox.standin.answers import Payload, Refusal
from tests.sandbox.standin.routes import Endpoint
from tests.sandbox.standin.tokens import Tokens
from tests.sandbox.standin.validation import require_texts

if TYPE_CHECKING:
    from tests.sandbox.standin.identities import Identity


class LoginEndpoints:
    """Everything that answers without an Authorization header. Each way to log in ends in `tokens.issue`."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.identities: list[Identity] = []

    def respond(self, endpoint: Endpoint, body: object, at: float) -> Payload:
        if endpoint is Endpoint.LOGIN:
            client_id, client_secret = require_texts(body, "clientId", "clientSecret")
            return self._login(client_id, client_secret, at)
        (token,) = require_texts(body, "accessToken")
        return self._tokens.renew(token, at) if endpoint is Endpoint.RENEW else self._tokens.revoke(token, at)

    def _login(self, client_id: str, client_secret: str, at: float) -> Payload:
        for identity in self.identities:
            for method in identity.auth_methods:
                if method.client_id == client_id:
                    method.verify(client_secret, at)
                    return self._tokens.issue(identity, method.token_policy, at)
        raise Refusal(404, "No identity with specified client ID was found")
