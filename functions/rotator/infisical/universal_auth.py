"""Universal Auth: a machine identity that logs in with a client id and a client secret."""

import json
import re

from rotator.infisical.login import Login
from rotator.text import BYTE_ORDER_MARK

PATH = "/api/v1/auth/universal-auth/login"

# Infisical makes both of plain ASCII. Web pages and chats add characters that nobody sees.
_PLAIN = re.compile(r"[!-~]+")


def universal_auth(secret: str) -> Login:
    """Read the machine identity's secret, `{"clientId": "…", "clientSecret": "…"}`.

    White space around the values is dropped: pasted line ends are a known cause of refused logins. So is a byte order
    mark before the whole. Raises ValueError that names what is missing or wrong and holds nothing of the secret.
    """
    try:
        fields = json.loads(secret.removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ValueError('the machine identity\'s secret must be JSON: {"clientId": "…", "clientSecret": "…"}')
    client_id, client_secret = _credential(fields, "clientId"), _credential(fields, "clientSecret")
    return Login(PATH, {"clientId": client_id, "clientSecret": client_secret}, (client_id, client_secret))


def _credential(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the machine identity's secret has no {name}")
    if not _PLAIN.fullmatch(value.strip()):
        raise ValueError(
            f"the {name} in the machine identity's secret holds a character that Infisical never uses, perhaps an"
            " invisible one; type it in again"
        )
    return value.strip()
