"""What a person is told of input that was refused."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

LONGEST_TEXT = 1500


def readable(text: str) -> str:
    """Return a text that somebody is told, which is short, and which Lambda's runtime can write.

    The runtime writes answers and errors in UTF-8, and ends with the whole process where it cannot.
    """
    assert 0 < len(text) <= LONGEST_TEXT, f"{len(text)} characters: {text!r:.300}"
    assert text.encode("utf-8", "replace").decode() == text, f"half a character: {text!r:.300}"
    return text


@dataclass
class Refusal:
    """The text of an error, empty where there was none."""

    text: str = ""


class refused_readably(AbstractContextManager[Refusal]):  # noqa: N801 - as contextlib's
    """Let a block end as it does, or with an error of the application's own that can be read; other errors go on.

    `documented` are built-in errors that what is called raises by intent; not so the ones derived from them.
    """

    def __init__(self, *documented: type[Exception]) -> None:
        self._documented = documented
        self._refusal = Refusal()

    def __enter__(self) -> Refusal:
        return self._refusal

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if kind is None or not (kind.__module__.startswith("rotator.") or kind in self._documented):
            return False
        self._refusal.text = readable(str(error))
        return True
