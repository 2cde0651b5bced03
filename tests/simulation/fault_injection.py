"""Fault injection: what goes wrong, and when, drawn call by call from one seeded generator until all is calm."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

from tests.sandbox.standin.answers import Answer, Dropped
from tests.sandbox.standin.faults import CommittedThenDropped, Dies, Fails, InProgress, LockRace, Slow
from tests.simulation.scheduler import Scheduler, Task


class Trace:
    """Who did what, when; for an engineer who wants to understand a schedule."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lines: list[tuple[float, str, str]] = []

    def add(self, text: str) -> None:
        self._lines.append((self._scheduler.now, self._scheduler.current.process.name, text))

    def __str__(self) -> str:
        start = self._lines[0][0] if self._lines else 0.0
        return "\n".join(f"{_elapsed(at - start)}  {who:<12} {text}" for at, who, text in self._lines)


@dataclass(frozen=True)
class ReplacedAnswer:
    """Infisical does what it is asked, and its answer is replaced on the way by a proxy's page."""

    page: Answer


@dataclass(frozen=True)
class Outage:
    """For a while, every call whose name begins with one of these fails in the same way."""

    calls: tuple[str, ...]
    fault: object
    begins: float
    ends: float


class FaultInjector:
    """`rate` is how likely a call fails; all is calm once there were `budget` faults, or once it is `calm_at`.

    `injected` counts every kind of fault that was injected, and `last_at` is when the last one was. That replicas are
    behind and clocks stand still never ends, and is counted only.
    """

    def __init__(self, random: Random, scheduler: Scheduler, trace: Trace) -> None:
        self.random = random
        self.rate = 0.0
        self.budget = 0
        self.calm_at = 0.0
        self.outages: list[Outage] = []
        self.injected: Counter[str] = Counter()
        self.last_at = 0.0
        self._hits: list[tuple[float, Task, str, str]] = []
        self._scheduler = scheduler
        self._trace = trace

    def draw(self, call: str, faults: Sequence[object], weight: float = 1.0) -> object:
        """Choose what goes wrong with a call: one of its `faults`, or None, as most often."""
        for outage in self.outages:
            if outage.begins <= self._scheduler.now < outage.ends and call.startswith(outage.calls):
                self.record_fault(call, outage.fault)
                return outage.fault
        if not self.should_inject(weight):
            return None
        fault = self.random.choice(faults)
        self.record_fault(call, fault)
        return fault

    def should_inject(self, weight: float = 1.0) -> bool:
        calm = self._scheduler.now >= self.calm_at or self.budget == 0
        if calm or self.random.random() >= self.rate * weight:
            return False
        self.budget -= 1
        return True

    def record_fault(self, call: str, fault: object) -> None:
        """Count a fault, and remember whom it met."""
        kind = _kind(fault)
        self.last_at = self._scheduler.now
        self.injected[f"{call.partition(' of ')[0]}: {kind}"] += 1
        self._hits.append((self._scheduler.now, self._scheduler.current, call, kind))
        self._trace.add(f"! {call}: {_shown(fault)}")

    def count(self, call: str, kind: str) -> None:
        """Count what is no event but the way this world is."""
        self.injected[f"{call}: {kind}"] += 1
        self._trace.add(f"~ {call}: {kind}")

    def was_hit(self, call: str = "", but: Collection[str] = (), only: Collection[str] = ()) -> bool:
        """Whether whose turn it is has met a fault in a call whose name begins like this, of (no) such kinds."""
        mine = ((name, kind) for _, task, name, kind in self._hits if task is self._scheduler.current)
        return any(
            name.startswith(call) and not kind.startswith(tuple(but)) and (not only or kind in only)
            for name, kind in mine
        )

    def count_recent(self, call: str, kind: str, seconds: float) -> int:
        """How many faults there were in calls and of kinds whose names begin like this, whomever they met."""
        return sum(
            self._scheduler.now - at < seconds and name.startswith(call) and each.startswith(kind)
            for at, _, name, each in self._hits
        )


def _kind(fault: object) -> str:
    match fault:
        case Slow(then=None):
            kind = "slow"
        case Slow(then=then):
            kind = f"slow, then {_kind(then)}"
        case Fails(point=point) | Dies(point=point):
            kind = f"{type(fault).__name__.lower()} {point.name.lower().replace('_', ' ')}"
        case Answer(status=status):
            kind = f"a proxy answers {status}"
        case ReplacedAnswer(page=page):
            kind = f"done, and a proxy answers {page.status}"
        case CommittedThenDropped():
            kind = "committed, then dropped"
        case Dropped():
            kind = "dropped"
        case InProgress():
            kind = "others rotate"
        case LockRace():
            kind = "others take the lock"
        case _:
            kind = str(fault)
    return kind


def _shown(fault: object) -> str:
    return f"{_kind(fault)} ({fault.seconds:.0f} s)" if isinstance(fault, Slow) else _kind(fault)


def _elapsed(seconds: float) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{days:.0f}d {hours:02.0f}:{minutes:02.0f}:{rest:06.3f}"
