"""How a value from outside is shown in an error: shortly, whatever it is."""

import reprlib

_MAXIMUM_LENGTH = 100


def shown(value: object) -> str:
    """A value as Python writes it, cut; nesting of any depth is cut too."""
    return "nothing" if value is None else reprlib.repr(value)[:_MAXIMUM_LENGTH]
