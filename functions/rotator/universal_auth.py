"""Universal Auth: a machine identity that logs in with a client id and a client secret."""

import json

from rotator.identity import Login
from rotator.shown import readable

PATH = "/api/v1/auth/universal-auth/login"


def universal_auth(secret: str) -> Login:
    """Read the machine identity's secret, `{"clientId": "…", "clientSecret": "…"}`.

    White space around the values is dropped: pasted line ends are a known cause of refused logins.
    Raises ValueError that names what is missing and holds nothing of the secret.
    """
    try:
        fields = json.loads(secret)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ValueError('the machine identity\'s secret must be JSON: {"clientId": "…", "clientSecret": "…"}')
    client_id, client_secret = _text(fields, "clientId"), _text(fields, "clientSecret")
    return Login(PATH, {"clientId": client_id, "clientSecret": client_secret}, (client_id, client_secret))


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip() or value != readable(value):
        raise ValueError(f"the machine identity's secret has no {name}")
    return value.strip()
