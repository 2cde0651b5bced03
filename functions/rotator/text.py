"""Text from outside in errors and logs: short, whatever it is, and always in characters that UTF-8 can encode."""

import reprlib

MAXIMUM_TEXT_LENGTH = 400  # of a service's own words: ARNs, which operators need, fit; pages of HTML do not
_MAXIMUM_QUOTED_LENGTH = 100

BYTE_ORDER_MARK = "\ufeff"  # some editors of Windows begin a file with it


def printable(text: str) -> str:
    """Replace what UTF-8 cannot encode: lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def clip(text: str, length: int = MAXIMUM_TEXT_LENGTH) -> str:
    """Cut a text that is too long."""
    return printable(text[:length])


def quote(value: object, length: int = _MAXIMUM_QUOTED_LENGTH) -> str:
    """Write a value as Python does, and cut it, however deeply it is nested."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return clip(repr(value[:length]), length)
    return clip(reprlib.repr(value), length)
