"""What goes wrong, and when: drawn call by call from one generator, until all is calm."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

from tests.sandbox.standin.answers import Answer, Dropped
from tests.sandbox.standin.faults import CommittedThenDropped, Dies, Fails, InProgress, LockRace, Slow
from tests.simulation.turns import Task, Turns


class Trace:
    """Who did what, when; for a person who wants to understand a schedule."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._lines: list[tuple[float, str, str]] = []

    def add(self, text: str) -> None:
        self._lines.append((self._turns.now, self._turns.current.process.name, text))

    def __str__(self) -> str:
        start = self._lines[0][0] if self._lines else 0.0
        return "\n".join(f"{_elapsed(at - start)}  {who:<12} {text}" for at, who, text in self._lines)


@dataclass(frozen=True)
class Veiled:
    """Infisical does what it is asked, and its answer is replaced on the way by a proxy's page."""

    page: Answer


@dataclass(frozen=True)
class Spell:
    """For a while, every call whose name begins with one of these fails in the same way."""

    calls: tuple[str, ...]
    fault: object
    begins: float
    ends: float


class Disturbances:
    """`rate` is how likely a call is disturbed; all is calm once there were `budget` faults, or once it is `calm_at`.

    `struck` counts every kind of fault that was injected, and `last_at` is when the last one was. That replicas are
    behind and clocks stand still never ends, and is counted only.
    """

    def __init__(self, random: Random, turns: Turns, trace: Trace) -> None:
        self.random = random
        self.rate = 0.0
        self.budget = 0
        self.calm_at = 0.0
        self.spells: list[Spell] = []
        self.struck: Counter[str] = Counter()
        self.last_at = 0.0
        self._met: list[tuple[float, Task, str, str]] = []
        self._turns = turns
        self._trace = trace

    def draw(self, call: str, faults: Sequence[object], weight: float = 1.0) -> object:
        """Choose what goes wrong with a call: one of its `faults`, or None, as most often."""
        for spell in self.spells:
            if spell.begins <= self._turns.now < spell.ends and call.startswith(spell.calls):
                self.note(call, spell.fault)
                return spell.fault
        if not self.strikes(weight):
            return None
        fault = self.random.choice(faults)
        self.note(call, fault)
        return fault

    def strikes(self, weight: float = 1.0) -> bool:
        calm = self._turns.now >= self.calm_at or self.budget == 0
        if calm or self.random.random() >= self.rate * weight:
            return False
        self.budget -= 1
        return True

    def note(self, call: str, fault: object) -> None:
        """Count a fault, and remember whom it met."""
        kind = _kind(fault)
        self.last_at = self._turns.now
        self.struck[f"{call.partition(' of ')[0]}: {kind}"] += 1
        self._met.append((self._turns.now, self._turns.current, call, kind))
        self._trace.add(f"! {call}: {_shown(fault)}")

    def count(self, call: str, kind: str) -> None:
        """Count what is no event but the way this world is."""
        self.struck[f"{call}: {kind}"] += 1
        self._trace.add(f"~ {call}: {kind}")

    def met(self, call: str = "", but: Collection[str] = (), only: Collection[str] = ()) -> bool:
        """Whether whose turn it is has met a fault in a call whose name begins like this, of (no) such kinds."""
        mine = ((name, kind) for _, task, name, kind in self._met if task is self._turns.current)
        return any(
            name.startswith(call) and not kind.startswith(tuple(but)) and (not only or kind in only)
            for name, kind in mine
        )

    def lately(self, call: str, kind: str, seconds: float) -> int:
        """How many faults there were in calls and of kinds whose names begin like this, whomever they met."""
        return sum(
            self._turns.now - at < seconds and name.startswith(call) and each.startswith(kind)
            for at, _, name, each in self._met
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
        case Veiled(page=page):
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
