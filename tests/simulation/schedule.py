"""One random schedule: what happens to how many rotations, which faults are injected, and whether the invariants held.

The same seed gives the same schedule. Days of it cost milliseconds.
"""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

from rotator.timestamps import format_timestamp, from_epoch
from tests.sandbox.standin.attempts import Pace
from tests.sandbox.standin.faults import Dies, Fails, Point
from tests.simulation.fault_injection import Outage, ReplacedAnswer
from tests.simulation.functions import Freezing
from tests.simulation.network import (
    BAD_GATEWAY,
    BLOCKED,
    CALLS_OF_INFISICAL,
    MAINTENANCE,
    MISDIRECTED,
    NOT_ALLOWED,
    NOT_ROUTED,
)
from tests.simulation.operators import HOURS_UNTIL_A_REDRIVE
from tests.simulation.oracle import History, Kind, Violation
from tests.simulation.program import Parts
from tests.simulation.world import DAY, HOURLY, INTERVALS, WEEKLY, Setting, World

START = datetime(2026, 11, 16, 5, tzinfo=UTC).timestamp()
MINUTE, HOUR = 60.0, 3600.0

# Long enough for the operator to look, for what is done then, and for the queue to drain.
AFTERMATH = 5 * DAY

KINDS = (*[Kind.GUARDED] * 12, *[Kind.UNGUARDED] * 6, *[Kind.FOREIGN] * 2, Kind.SHARED)
MIRRORED = (*[Kind.GUARDED] * 6, *[Kind.UNGUARDED] * 2, Kind.FOREIGN)

# Of Infisical and IAM, ahead of AWS's clock. The promise holds where no two of the three differ by more than two
# minutes. A sender's clock may be five minutes ahead.
CLOCKS_AHEAD = tuple(
    (infisical, iam)
    for infisical in (0.0, 60.0, 120.0, -60.0, -120.0)
    for iam in (0.0, 60.0, 120.0, -60.0, -120.0)
    if abs(infisical - iam) <= 120.0
)
SENDERS_AHEAD = (20.0, 110.0, 200.0, 300.0)

# Of Infisical's database. What the promise bounds is ten minutes.
REPLICAS_BEHIND = (0.01, 0.05, 1.0, 4.0, 30.0, 120.0, 290.0, 590.0, 600.0)

OUTAGES: tuple[tuple[tuple[str, ...], object], ...] = (
    (CALLS_OF_INFISICAL, "no connection"),
    (CALLS_OF_INFISICAL, NOT_ROUTED),
    (CALLS_OF_INFISICAL, MAINTENANCE),
    (("login",), "server error"),
    (("login",), BLOCKED),
    (("state",), BAD_GATEWAY),
    (("state", "credentials"), NOT_ALLOWED),
    (("rotate-secrets",), ReplacedAnswer(MISDIRECTED)),
    (("rotate-secrets",), Fails(Point.BEFORE)),
    (("rotate-secrets",), Dies(Point.BEFORE)),
    (("rotate-secrets",), "limited"),
    (("rotate-secrets",), "request lost"),
    (("iam",), "throttled"),
    (("iam",), "unavailable"),
    (("iam", "sts"), "no connection"),
    (("iam", "sts"), "session expired"),
    (("sqs send_message",), "throttled"),
    (("sqs change_message_visibility",), "throttled"),
)
OUTAGES_FOR_GOOD: tuple[tuple[tuple[str, ...], object], ...] = (
    (("rotate-secrets",), Fails(Point.BEFORE)),
    (("rotate-secrets",), "no connection"),
    (("login",), "no connection"),
)


@dataclass(frozen=True)
class Result:
    """`faults` are by their kind, `ends` are those of requests; `indistinct` are refusals because clocks differ."""

    seed: int
    faults: Counter[str]
    violations: list[Violation]
    rotations: Counter[Kind]
    ends: Counter[tuple[Kind, str]]
    indistinct: int
    trace: str


def run(seed: int, parts: Parts | None = None) -> Result:
    """Draw a schedule, and let it happen."""
    return Schedule(seed, parts or Parts()).run()


class Schedule:
    def __init__(self, seed: int, parts: Parts) -> None:
        self._seed = seed
        self._random = Random(seed)  # noqa: S311 - a schedule is no secret
        self._retirements = Random(f"{seed}: retire")  # noqa: S311 - a schedule is no secret
        self._world = World(START, self._random, self._draw_setting(), parts)
        self._last = START

    @property
    def kinds(self) -> set[Kind]:
        """Of its rotations."""
        return {history.kind for history in self._world.oracle.histories.values()}

    def run(self) -> Result:
        world = self._world
        self._draw_events()
        world.run(world.injector.calm_at + AFTERMATH)
        return Result(
            seed=self._seed,
            faults=world.injector.injected,
            violations=world.oracle.violations,
            rotations=Counter(history.kind for history in world.oracle.histories.values()),
            ends=world.checker.ends,
            indistinct=world.checker.indistinct,
            trace=str(world.trace),
        )

    def _draw_setting(self) -> Setting:
        random = self._random
        count, intervals = random.choice((1, 1, 1, 1, 2, 3)), list(INTERVALS)
        rotations = [(random.choice(KINDS), random.choice(intervals)) for _ in range(count)]
        if selector := random.random() < 0.25:
            rotations = [rotations[0]] * count
        has_mirror = random.random() < (0.8 if selector else 0.15)
        mirrored = (random.choice(MIRRORED), random.choice(intervals)) if has_mirror else None
        ahead = random.choice(CLOCKS_AHEAD) if random.random() < 0.5 else (0.0, 0.0)
        replicas = random.choice((0, 0, 1, 1, 2, 3))
        return Setting(
            rotations=rotations,
            mirrored=mirrored,
            selector=selector,
            role=random.random() < 0.2,
            replicas_behind=[random.choice((0.0, *REPLICAS_BEHIND)) for _ in range(replicas)] or [0.0],
            freezing=Freezing(random.choice((0.0, 0.5, 1.0)), random.choice((0.0, 0.0, 0.3, 1.0))),
            infisical_ahead=ahead[0] + random.uniform(-0.5, 0.5),
            iam_ahead=ahead[1] + random.uniform(-0.5, 0.5),
            pace=Pace(random.choice((0.005, 0.05)), random.choice((0.03, 0.3, 2.0))),
            closes_after_seconds=random.choice((30, 30, 90)),
            new_keys_work_after_seconds=random.choice((0, 0, 10)),
            secret_is_retried_after=[random.choice((20, 90, 600, HOUR, 5 * HOUR)) for _ in range(2)],
        )

    def _draw_events(self) -> None:
        random, injector = self._random, self._world.injector
        injector.rate = random.choice((0.01, 0.03, 0.1, 0.3))
        injector.budget = random.choice((1, 2, 3, 6, 12, 25))
        at = START
        for _ in range(random.choice((1, 2, 2, 3, 4))):
            self._draw_occurrence(at)
            self._draw_company(at)
            self._draw_retirement(at)
            at += self._draw_gap()
        if random.random() < 0.2:
            self._draw_outage(at)
        if random.random() < 0.01:
            self._draw_short_limits(at)
        if random.random() < 0.01:
            self._draw_end_of_all_rotations(at)
        injector.calm_at = self._last + random.uniform(0, HOUR)
        for _ in range(2):
            self._at(injector.calm_at + random.uniform(*HOURS_UNTIL_A_REDRIVE) * HOUR, self._world.operator.redrive)

    def _draw_gap(self) -> float:
        """To the next occurrence: the same moment, or too soon, or just not too soon any more, or long enough."""
        random, interval = self._random, self._world.oracle.first.interval_seconds
        around = interval + random.uniform(-3 * MINUTE, 5 * MINUTE)
        return random.choice((0.0, random.uniform(0, 10 * MINUTE), around, random.uniform(HOUR, 12 * HOUR), DAY))

    def _draw_occurrence(self, at: float) -> None:
        """Deliver one occurrence at least once, sooner or later."""
        random = self._random
        ahead = random.choice(SENDERS_AHEAD) if random.random() < 0.15 else 0.0
        if ahead:
            self._world.injector.count("event", "the sender's clock is ahead")
        event = self._draw_event(format_timestamp(from_epoch(at + ahead)))
        soon = random.uniform(0, 0.2)
        first = at + random.choice((soon, soon, random.uniform(0, 20 * MINUTE), 4 * HOUR))
        self._deliver(event, first, is_fault=first > at + MINUTE)
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            after = (0.0, random.uniform(0, 10), random.uniform(0, 30 * MINUTE), random.uniform(0, 6 * HOUR), 2 * DAY)
            self._deliver(event, first + random.choice(after), is_fault=True)

    def _deliver(self, event: dict[str, Any], at: float, *, is_fault: bool) -> None:
        world = self._world

        def deliver() -> None:
            world.trace.add(f"occurs: {json.dumps(event)}")
            if is_fault:
                world.injector.record_fault("event", "late or again")
            world.triggers.deliver(event)

        self._last = max(self._last, at)
        self._at(at, deliver)

    def _draw_event(self, moment: str) -> dict[str, Any]:
        random = self._random
        trigger = random.choice((WEEKLY, WEEKLY, HOURLY))
        match random.choice(("schedule", "schedule", "rule", "custom", "forced")):
            case "rule":
                rule = {"source": "aws.events", "detail-type": "Scheduled Event", "time": moment, "detail": {}}
                return rule | {"resources": [f"arn:aws:events:us-east-1:123456789012:rule/{trigger}"]}
            case "custom":
                detail = {"trigger": trigger}
                return {"source": "rotations", "detail-type": "Rotation Requested", "time": moment, "detail": detail}
            case "forced":
                only = random.sample(self._world.rotations_of[trigger], 1)
                return {"trigger": trigger, "only": only, "force": True, "occurredAt": moment}
        return {"trigger": trigger, "scheduledTime": moment}

    def _draw_company(self, at: float) -> None:
        """What else happens around an occurrence: the secret is rotated, a key is used, others rotate."""
        random = self._random
        if self._world.oracle.mirrored and random.random() < 0.3:
            self._at(at + random.uniform(-MINUTE, HOUR), self._world.secret_rotation.rotate)
        if random.random() < 0.05:
            self._at(at + random.uniform(0, HOUR), self._use_old_keys)
        for history in self._world.oracle.histories.values():
            if history.kind is Kind.FOREIGN and random.random() < 0.3:
                self._at(at + random.uniform(-MINUTE, MINUTE), partial(self._rotate_by_others, history))

    def _draw_retirement(self, at: float) -> None:
        """Around an occurrence `retire` looks at previous keys, and a person changes some by hand.

        It is drawn by a generator of its own, so that schedules without it stay what they are.
        """
        random = self._retirements
        if random.random() < 0.5:
            return
        for _ in range(random.choice((1, 2, 4))):
            self._at(at + random.choice((random.uniform(0, 10), random.uniform(0, HOUR))), self._world.retire_keys)
        if random.random() < 0.3:
            self._at(at + random.uniform(0, HOUR), partial(self._change_old_keys, random.choice(("on", "off", "gone"))))

    def _change_old_keys(self, how: str) -> None:
        """A person reactivates, deactivates or deletes every previous key that Infisical knows."""
        world = self._world
        world.server.settle()
        for history in world.oracle.histories.values():
            previous = {slot["accessKeyId"] for slot in history.rotation.slots} - {history.published}
            world.trace.add(f"a person switches the previous key of {history.user} {how}")
            if how == "gone":
                world.oracle.delete_by_hand(history, *map(str, previous))
            else:
                (world.iam.inactive.update if how == "off" else world.iam.inactive.difference_update)(previous)

    def _draw_outage(self, last: float) -> None:
        random = self._random
        calls, fault = random.choice(OUTAGES)
        begins = random.uniform(START - 5 * MINUTE, last)
        ends = begins + random.choice((5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR))
        self._world.injector.outages.append(Outage(calls, fault, begins, ends))
        self._last = max(self._last, ends)

    def _draw_short_limits(self, last: float) -> None:
        """For half an hour, Infisical says that a second would be enough."""
        begins = self._random.uniform(START, last)
        limits = Outage(("rotate-secrets", "state"), "limited for a second", begins, begins + 30 * MINUTE)
        self._world.injector.outages.append(limits)
        self._last = max(self._last, limits.ends)

    def _draw_end_of_all_rotations(self, last: float) -> None:
        """What nobody cures, or not before everything has ended."""
        begins = self._random.uniform(START - 5 * MINUTE, last)
        calls, fault = self._random.choice(OUTAGES_FOR_GOOD)
        self._world.injector.outages.append(Outage(calls, fault, begins, math.inf))
        self._world.operator.responses_left = 0

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        self._world.scheduler.later(max(0.0, moment - START), action)

    def _use_old_keys(self) -> None:
        world = self._world
        world.server.settle()
        for history in world.oracle.histories.values():
            for key in world.keys.list_access_keys(history.user):
                if key.id != history.published:
                    world.trace.add(f"a consumer uses an old key of {history.user}")
                    world.iam.last_used[key.id] = from_epoch(world.server.clock.time())

    def _rotate_by_others(self, history: History) -> None:
        self._world.server.start_rotation(history.rotation.id, self._random.choice((0.03, 2.0, 20.0)))
