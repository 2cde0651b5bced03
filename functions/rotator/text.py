"""Foreign text in errors and logs: cut to a length, and in characters that UTF-8 can encode."""

import reprlib

MAXIMUM_TEXT_LENGTH = 400  # of a service's message: an ARN fits, which operators need; a page of HTML does not
_MAXIMUM_QUOTED_LENGTH = 100

BYTE_ORDER_MARK = "\ufeff"  # some editors of Windows begin a file with it


def printable(text: str) -> str:
    """Replace what UTF-8 cannot encode: lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def clip(text: str, length: int = MAXIMUM_TEXT_LENGTH) -> str:
    """Cut a text that is too long."""
    return printable(text[:length])


def quote(value: object, length: int = _MAXIMUM_QUOTED_LENGTH) -> str:
    """Write a value as `repr` does, and cut it. Deeply nested values are safe."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return clip(repr(value[:length]), length)
    return clip(reprlib.repr(value), length)
