"""The line for a person in each event, and the limit on how many are sent. Only the limiter has state."""

from rotator.clock import Clock

MAXIMUM_MESSAGE_LENGTH = 500

# The first failures of one trigger in an hour are sent as messages. Each process of a function counts for itself.
MESSAGES_AN_HOUR = 5
WINDOW_SECONDS = 3600.0

# An input transformer of EventBridge puts a variable into its template as it stands, so quotes, backslashes, angle
# brackets and line ends would change the template.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html
_REPLACED = str.maketrans({'"': "'", "\\": "/", "<": "(", ">": ")"})


def one_line(text: str, length: int = MAXIMUM_MESSAGE_LENGTH) -> str:
    """Write a text as one printable line that needs no escapes in a template or a JSON string."""
    line = " ".join(text.translate(_REPLACED).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= length else f"{line[: length - 3].rstrip()}..."


def failure_message(subject: str, outcome: str, reason: str, explanation: str, *, last_of_flood: bool = False) -> str:
    """Say which rotation or trigger failed, why, and what to read next."""
    more = (
        f" This is failure {MESSAGES_AN_HOUR} of its trigger within an hour: further ones send no message."
        " FailedRotations.fifo has them all."
        if last_of_flood
        else ""
    )
    where = f"{more} What to do: docs/runbook.md, reason {one_line(reason, 60)}."
    said = one_line(f"{one_line(subject, 128)} {outcome} ({one_line(reason, 60)}): {explanation}", _room_for(where))
    return f"{said}{'' if said.endswith('.') else '.'}{where}"


def _room_for(rest: str) -> int:
    return MAXIMUM_MESSAGE_LENGTH - len(rest) - 1


class MessageLimiter:
    """Counts the failures of each trigger in an hour, in this process. Not thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}

    def count(self, trigger: str) -> int:
        """Count one more failure, and return how many the trigger has in its hour."""
        now = self._clock.time()
        self._windows = {name: window for name, window in self._windows.items() if now < window[0] + WINDOW_SECONDS}
        began, counted = self._windows.get(trigger, (now, 0))
        self._windows[trigger] = (began, counted + 1)
        return counted + 1
