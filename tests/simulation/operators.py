"""The operator, who is alarmed about failures and follows the runbook some time later."""

import json
import re
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from rotator.timestamps import format_timestamp, from_epoch
from tests.simulation.fifo import Message
from tests.simulation.functions import Triggers
from tests.simulation.oracle import History, Oracle
from tests.simulation.scheduler import Scheduler

MOST_RESPONSES = 6  # later failures get no response: not every alarm does
HOURS_UNTIL_A_RESPONSE = (0.2, 8.0)
HOURS_UNTIL_A_REDRIVE = (0.5, 72.0)
HOURS_UNTIL_A_KEY_IS_RELEASED = 7.0
RETRY_SECONDS = 600.0

REASONS_TO_COMPARE_KEYS = frozenset({"PreviousAttemptFailed", "AttemptFailed", "Uncertain"})
TWO_KEYS = re.compile(r"may not know, (?P<suspect>\w+), created .* beside (?P<other>\w+), created")


class Operator:
    """`trigger` stands for every rotation but the one that a secret mirrors."""

    def __init__(
        self,
        scheduler: Scheduler,
        random: Random,
        oracle: Oracle,
        triggers: Triggers,
        trigger: str,
        *,
        rotate_secret: Callable[[], None],
        rotate_in_infisical: Callable[[History], None],
    ) -> None:
        self._scheduler = scheduler
        self._random = random
        self._oracle = oracle
        self._triggers = triggers
        self._trigger = trigger
        self._rotate_secret = rotate_secret
        self._rotate_in_infisical = rotate_in_infisical
        self.responses_left = MOST_RESPONSES
        self._invocations = 0
        self._busy: set[str] = set()

    def on_alarm(self, message: Message) -> None:
        """A message in FailedRotations.fifo raises an alarm."""
        if self.responses_left == 0 or message.group in self._busy:
            return
        self.responses_left -= 1
        self._busy.add(message.group)
        report = json.loads(message.body)
        hours = self._random.uniform(*HOURS_UNTIL_A_RESPONSE)
        if report["reason"] == "KeyInUse":
            hours += HOURS_UNTIL_A_KEY_IS_RELEASED
        self._scheduler.later(hours * 3600, partial(self._respond, self._oracle.histories[message.group], report))

    def redrive(self) -> None:
        """Replay what waits in UndeliveredTriggers, each as the occurrence that it was."""
        waiting, self._triggers.undelivered = self._triggers.undelivered, []
        for event in waiting:
            self._invoke(event, partial(self._triggers.undelivered.append, event))

    def _respond(self, history: History, report: dict[str, Any]) -> None:
        self._busy.discard(history.rotation.id)
        event: dict[str, Any] = {"trigger": self._trigger, "only": [history.rotation.id]}
        is_mirrored, is_forced = history is self._oracle.mirrored, False
        if keys := TWO_KEYS.search(report["explanation"]):
            self._oracle.delete_by_hand(history, *(key for key in keys.groups() if key != history.published))
        elif report["reason"] in REASONS_TO_COMPARE_KEYS:
            self._oracle.delete_by_hand(history, *self._oracle.newer_and_untracked(history))
            is_forced = True
        if is_mirrored:
            if is_forced:
                self._rotate_in_infisical(history)
            self._scheduler.later(RETRY_SECONDS, self._rotate_secret)
            return
        if is_forced:
            event |= {"force": True, "occurredAt": format_timestamp(from_epoch(self._scheduler.now))}
        self._send(event)

    def _send(self, event: dict[str, Any]) -> None:
        self._invoke(event, lambda: self._scheduler.later(RETRY_SECONDS, partial(self._send, event)))

    def _invoke(self, event: dict[str, Any], failed: Callable[[], None]) -> None:
        def answered(answer: dict[str, Any] | None) -> None:
            if answer is None:
                failed()

        self._invocations += 1
        self._triggers.invoke(event, f"operator-{self._invocations}", answered)
