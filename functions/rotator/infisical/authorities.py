"""Certificate authorities as people store them: PEM, perhaps with damaged line ends."""

import re
from base64 import b64decode

_BEGIN = "-----BEGIN "
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def parse_authorities(text: str) -> bytes:
    r"""Read every certificate of a PEM text, as DER, one after the other.

    OpenSSL needs each marker on a line of its own. But the console of Parameter Store replaces line ends by blanks
    (aws-cli 2596), some tools write `\n` as two characters, and files are joined without a line end between them. Text
    between the certificates is ignored. A block that is not a certificate is refused: OpenSSL would skip it silently.

    Raises ValueError that says which block is wrong.
    """
    text = text.replace("\\r", "").replace("\\n", "\n")
    blocks = [_BEGIN + block for block in text.split(_BEGIN)[1:]]
    if not blocks:
        raise ValueError("there is no -----BEGIN CERTIFICATE-----")
    return b"".join(_certificate(block, number) for number, block in enumerate(blocks, 1))


def _certificate(block: str, number: int) -> bytes:
    found = _CERTIFICATE.match(block)
    try:
        if found:
            return b64decode("".join(found[1].split()), validate=True)
    except ValueError:
        pass
    raise ValueError(f"block {number} is not a certificate in PEM form")
