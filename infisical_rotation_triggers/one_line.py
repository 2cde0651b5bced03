"""Texts from outside, as a terminal may show them."""

_MAXIMUM_LENGTH = 1500


def one_line(text: str) -> str:
    """Cut a text, and show what would move the cursor as an escape."""
    cut = text if len(text) <= _MAXIMUM_LENGTH else text[:_MAXIMUM_LENGTH] + "…"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cut)
