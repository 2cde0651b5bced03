"""The event bus, and the events that consumers have received."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from rotator.timestamps import parse_timestamp
from tests.simulation.oracle import History, Invariant, Oracle

ROUNDING_SECONDS = 0.001  # an event writes milliseconds


class EventBus:
    """EventBridge, as boto3's client has it. `refuse_last` refuses the last entry of the next call."""

    def __init__(self) -> None:
        self.refuse_last = False
        self.announced: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.denied: set[str] = set()

    def put_events(self, *, Entries: Sequence[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        refused = Entries[-1:] if self.refuse_last else []
        self.refuse_last = False
        for entry in Entries:
            if entry["DetailType"] == "Rotation Ended" and entry not in refused:
                detail = json.loads(entry["Detail"])
                self.announced[detail["rotation_id"]].append(detail)
        return {"Entries": [{"ErrorCode": "ThrottlingException"} if entry in refused else {} for entry in Entries]}

    def deny(self, entries: Iterable[dict[str, str]]) -> None:
        """A definite no: what these tell is in the log alone."""
        self.denied |= {json.loads(entry["Detail"]).get("rotation_id", "") for entry in entries}

    def check(self, oracle: Oracle) -> None:
        """No commit of ours is unannounced, and no event untrue."""
        for history in oracle.histories.values():
            self._check(oracle, history)

    def _check(self, oracle: Oracle, history: History) -> None:
        announced = self.announced[history.rotation.id]
        moments = [parse_timestamp(each["last_rotated_at"], "").timestamp() for each in announced if _rotated(each)]
        for moment in moments:
            if not any(abs(moment - commit.at) <= ROUNDING_SECONDS for commit in history.commits):
                oracle.add_violation(Invariant.UNTRUE, history, f"an event reports a rotation at {moment:.3f}")
        is_excused = history.rotation.id in self.denied or any(each["outcome"] == "unconfirmed" for each in announced)
        latest = max(moments, default=0.0)
        if not is_excused and any(commit.by and commit.at > latest + ROUNDING_SECONDS for commit in history.commits):
            oracle.add_violation(Invariant.UNANNOUNCED, history, "a rotation was committed, and no event announced it")


def _rotated(detail: dict[str, Any]) -> bool:
    return bool(detail["outcome"] == "rotated")
