"""How a value from outside is shown in an error: shortly, whatever it is."""

import reprlib

_MAXIMUM_LENGTH = 100

BYTE_ORDER_MARK = "\ufeff"  # some editors of Windows begin a file with it


def readable(text: str) -> str:
    """A text that can be written as UTF-8, whatever half characters it holds."""
    return text.encode("utf-8", "replace").decode()


def shown(value: object) -> str:
    """A value as Python writes it, cut; nesting of any depth is cut too."""
    return "nothing" if value is None else readable(reprlib.repr(value)[:_MAXIMUM_LENGTH])
