"""The oracle: what really happened to the keys, and for which request. It watches the server, not the program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from inspect import GEN_RUNNING, getgeneratorstate
from typing import Any

from rotator.rotation.request import RotationRequest
from tests.sandbox.standin.attempts import Pace
from tests.sandbox.standin.clock import Clock
from tests.sandbox.standin.core import Call, StandIn
from tests.sandbox.standin.keys import MemoryKeys
from tests.sandbox.standin.rotations import Rotation
from tests.simulation.fault_injection import Trace
from tests.simulation.scheduler import Scheduler, Task

CLEAR_NO = (400, 401, 403, 429)

MOMENTS = ("scheduledTime", "time", "occurredAt")

# T is read from another clock than lastRotatedAt, and IAM reports whole seconds.
CLOCKS_DIFFER_SECONDS = 121.0
CLOCK_MARGIN_SECONDS = 300.0
SECRET = "arn:aws:secretsmanager:"
MIRROR_MARGIN_SECONDS = 720.0  # 600 of replica lag + 120 of clock skew

# Between the date of a published key and its commit, by two clocks; and between two commits whose keys both fit.
LONGEST_DATED_SECONDS = 212.0
INDISTINCT_SECONDS = LONGEST_DATED_SECONDS + 120


class Kind(StrEnum):
    """How a rotation is mapped, and whether it is ours alone."""

    GUARDED = "key guard on"
    UNGUARDED = "key guard off"
    FOREIGN = "key guard on, a foreign writer beside us"
    SHARED = "key guard on, two rotations of one IAM user"


class Invariant(StrEnum):
    """The invariants: what has to hold in every schedule."""

    ONCE = "one occurrence, one rotation"
    ATTEMPT = "without key guard, a request is attempted at most once"
    PUBLISHED = "the published key is never deleted"
    PREVIOUS = "the previous key stays valid for the minimum interval, and until another occurrence"
    RETIRED = "the published key is never deactivated"
    MIRRORED = "the key that a mirror's readers hold is never deleted"
    ACCUSED = "no refusal names the published key for deletion"
    REPORTED = "every trigger ends with a reason"
    DONE = "a request that ends as rotated or skipped is fulfilled"
    CAUSE = "every failure has a cause"
    DRAINED = "no rotation is blocked forever"
    SECRET = "no secret leaves the program"
    UNANNOUNCED = "every rotation is announced by an event"
    UNTRUE = "every event is true"


# What only the key guard can promise, and only where nobody else rotates, is no violation elsewhere but a figure.
# Others may rotate so often that the guard cannot tell their keys from one that an attempt has left behind. Two
# rotations of one IAM user always destroy each other's keys.
FIGURES: Mapping[Kind, tuple[Invariant, ...]] = {
    Kind.GUARDED: (),
    Kind.UNGUARDED: (Invariant.PUBLISHED, Invariant.MIRRORED),
    Kind.FOREIGN: (Invariant.PUBLISHED, Invariant.MIRRORED, Invariant.ACCUSED, Invariant.CAUSE),
    Kind.SHARED: (
        Invariant.PUBLISHED,
        Invariant.PREVIOUS,
        Invariant.MIRRORED,
        Invariant.ACCUSED,
        Invariant.DONE,
        Invariant.CAUSE,
    ),
}


@dataclass(frozen=True)
class Violation:
    invariant: Invariant
    kind: Kind
    text: str

    @property
    def counts(self) -> bool:
        return self.invariant not in FIGURES[self.kind]

    def __str__(self) -> str:
        return f"{self.invariant}. {self.text}"


@dataclass(frozen=True)
class Occurrence:
    """Of a trigger, at its moment; what is not an event, by whatever is the same each time it is tried."""

    trigger: str
    moment: str

    def __str__(self) -> str:
        return f"{self.trigger.rpartition('/')[2]} {self.moment}"

    @classmethod
    def of_event(cls, event: Mapping[str, Any], request_id: str) -> "Occurrence":
        """One that states no moment is a wish of its own each time."""
        trigger = event.get("trigger") or event.get("detail", {}).get("trigger") or event["resources"][0]
        return cls(trigger, next((event[name] for name in MOMENTS if name in event), request_id))


@dataclass(frozen=True)
class Attempt:
    """A rotate-secrets of ours. `margin_seconds` is how long after the last rotation T had to be."""

    occurrence: Occurrence
    request: RotationRequest
    margin_seconds: float
    call: Call

    @property
    def may_have_rotated(self) -> bool:
        """Whether Infisical has not said that it did nothing: a token refused, a limit, another attempt under way."""
        return self.call.entry.status not in CLEAR_NO

    @property
    def running(self) -> bool:
        """Whether it is this attempt that the server is executing right now."""
        process = self.call.task._process  # noqa: SLF001 - nobody else can tell who deletes a key
        return getgeneratorstate(process) == GEN_RUNNING


@dataclass(frozen=True)
class Commit:
    """`by` is None for a foreign one. `replaced` is the key that was published before."""

    at: float
    by: Attempt | None
    replaced: str


@dataclass
class History:
    """One rotation, as it went."""

    rotation: Rotation
    user: str
    kind: Kind
    interval_seconds: float
    published: str
    attempts: list[Attempt] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)

    @property
    def executing(self) -> Attempt | None:
        return next((attempt for attempt in self.attempts if attempt.running), None)


def margin_seconds(history: History, request: RotationRequest) -> float:
    """How long after the last rotation T has to be. A secret's rotation may be retried with what was read before."""
    if request.forced:
        return CLOCK_MARGIN_SECONDS
    least = MIRROR_MARGIN_SECONDS if request.trigger.startswith(SECRET) else CLOCK_MARGIN_SECONDS
    return max(least, history.interval_seconds)


class WatchedKeys(MemoryKeys):
    """Reports every deleted key."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.gone: Callable[[str, str], None] = lambda *_: None

    def delete_access_key(self, user: str, key_id: str) -> None:
        super().delete_access_key(user, key_id)
        self.gone(user, key_id)


class WatchedServer(StandIn):
    """Reports every rotate-secrets that arrives."""

    def __init__(self, clock: Clock, keys: WatchedKeys, *, limit_seconds: float, pace: Pace) -> None:
        super().__init__(clock, keys, limit_seconds=limit_seconds, pace=pace)
        self.arrived: Callable[[str, Call], None] = lambda *_: None

    def begin(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Call:
        call = super().begin(method, path, headers, body)
        if path.endswith("/rotate-secrets"):
            self.arrived(path.split("/")[-2], call)
        return call


class Oracle:
    """Watches the server and its keys, and records each violation as it happens."""

    def __init__(
        self, scheduler: Scheduler, server: WatchedServer, keys: WatchedKeys, trace: Trace, clocks_differ_seconds: float
    ) -> None:
        self.histories: dict[str, History] = {}
        self.violations: list[Violation] = []
        self.mirrored: History | None = None
        self.key_in_mirror: Callable[[], object] = lambda: None
        self._occurrences: dict[str, Occurrence] = {}
        self._asking: dict[Task, RotationRequest] = {}
        self._scheduler = scheduler
        self._server = server
        self._keys = keys
        self._trace = trace
        self._clocks_differ_seconds = clocks_differ_seconds
        self.lags: Sequence[float] = ()
        server.arrived = self._arrived
        keys.gone = self._gone

    def watch(self, rotation: Rotation, user: str, kind: Kind, interval_seconds: float) -> None:
        published = str(rotation.published["accessKeyId"])
        history = History(rotation, user, kind, interval_seconds, published)
        self.histories[rotation.id] = history
        rotation.after_commit.append(lambda at: self._committed(history, at))

    @property
    def first(self) -> History:
        return next(iter(self.histories.values()))

    @property
    def triggered(self) -> list[str]:
        """The ids of the rotations that triggers rotate: all but the one that a secret mirrors."""
        return [each.rotation.id for each in self.histories.values() if each is not self.mirrored]

    def remember_occurrence(self, correlation_id: str, occurrence: Occurrence) -> None:
        """Remember what is really meant by everything that bears this id."""
        self._occurrences[correlation_id] = occurrence

    def remember_request(self, request: RotationRequest) -> None:
        """Remember on whose behalf a task decides, and so sends what it sends next."""
        self._asking[self._scheduler.current] = request

    def untracked(self, history: History) -> list[str]:
        """The user's keys that Infisical does not know."""
        self._server.settle()
        tracked = {slot["accessKeyId"] for slot in history.rotation.slots}
        return [key.id for key in self._keys.list_access_keys(history.user) if key.id not in tracked]

    def newer_and_untracked(self, history: History) -> list[str]:
        """What an operator sees who compares IAM's list with what Infisical publishes."""
        untracked = self.untracked(history)
        created = {key.id: key.created_at for key in self._keys.list_access_keys(history.user)}
        published_at = created.get(history.published)
        return [key for key in untracked if published_at is not None and created[key] > published_at]

    def delete_by_hand(self, history: History, *key_ids: str) -> None:
        """Delete those of the keys that still exist."""
        self._server.settle()
        for key in self._keys.list_access_keys(history.user):
            if key.id in key_ids:
                self._keys.delete_access_key(history.user, key.id)

    def lagging(self) -> list[str]:
        """The rotation whose secret does not hold the published key, as the hook's dry run says it."""
        mirrored = self.mirrored
        if mirrored is None or self.key_in_mirror() == mirrored.published:
            return []
        return [mirrored.rotation.id]

    def on_deactivated(self, user: str, key_id: str) -> None:
        """A key was deactivated, which only `retire` and a person do."""
        self._server.settle()
        for history in self.histories.values():
            if history.user != user:
                continue
            is_published = key_id == history.published
            self._trace.add(f"= {'the published' if is_published else 'a previous'} key of {user} is deactivated")
            if is_published:
                self.add_violation(Invariant.RETIRED, history, "the published key was deactivated")

    def is_indistinct(self, history: History) -> bool:
        """Whether IAM's dates cannot tell the published key from the one before.

        T is AWS's, so five minutes after a commit by Infisical's clock may be three, and keys are dated by a third one.
        """
        moments = [commit.at for commit in history.commits[-2:]]
        close = len(moments) > 1 and moments[1] - moments[0] < INDISTINCT_SECONDS
        return close and self._clocks_differ_seconds > CLOCK_MARGIN_SECONDS - LONGEST_DATED_SECONDS

    def is_valid(self, history: History, key_id: object) -> bool:
        self._server.settle()
        return key_id in {key.id for key in self._keys.list_access_keys(history.user)}

    def failed_since_the_last_commit(self, history: History) -> bool:
        """Whether a row that a replica may show now says that an attempt has failed, other than after a commit."""
        now = self._server.clock.time()
        rows = [history.rotation.as_of(now - lag) for lag in (0.0, *self.lags)]
        return any(row.status == "failed" and row.last_attempted_at - row.last_rotated_at > 1 for row in rows)

    def was_sent(self, history: History, correlation_id: str) -> bool:
        """Whether a rotate-secrets has arrived on behalf of this request."""
        occurrence = self._occurrences[correlation_id]
        return any(attempt.occurrence == occurrence for attempt in history.attempts)

    def add_violation(self, invariant: Invariant, history: History, text: str) -> None:
        self._trace.add(f"VIOLATION {invariant}: {text}")
        self.violations.append(Violation(invariant, history.kind, f"{history.user}: {text}"))

    def _arrived(self, rotation_id: str, call: Call) -> None:
        history, request = self.histories[rotation_id], self._asking[self._scheduler.current]
        occurrence = self._occurrences[request.correlation_id]
        earlier = [each for each in history.attempts if each.request == request and each.may_have_rotated]
        attempt = Attempt(occurrence, request, margin_seconds(history, request), call)
        history.attempts.append(attempt)
        self._trace.add(f"= rotate-secrets of {history.user} arrives for {attempt.occurrence}")
        if earlier and history.kind is Kind.UNGUARDED:
            self.add_violation(Invariant.ATTEMPT, history, f"rotate-secrets was sent again for {occurrence}")

    def _committed(self, history: History, at: float) -> None:
        commit = Commit(at, history.executing, history.published)
        history.published = str(history.rotation.published["accessKeyId"])
        history.commits.append(commit)
        self._trace.add(f"= {history.user} is rotated {f'for {commit.by.occurrence}' if commit.by else 'by others'}")
        if commit.by is None:
            return
        earlier = [each for each in history.commits[:-1] if each.by and each.by.occurrence == commit.by.occurrence]
        if earlier:
            self.add_violation(Invariant.ONCE, history, f"rotated twice for {commit.by.occurrence}")

    def _gone(self, user: str, key_id: str) -> None:
        of_user = [each for each in self.histories.values() if each.user == user]
        history = next((each for each in of_user if each.executing), of_user[0])
        attempt = history.executing
        is_published = key_id in [each.published for each in of_user]
        whose = "the published key" if is_published else "a key"
        self._trace.add(f"= {whose} of {user} is deleted {f'for {attempt.occurrence}' if attempt else 'by others'}")
        if attempt is None:
            return
        if is_published:
            self.add_violation(Invariant.PUBLISHED, history, f"the published key was deleted for {attempt.occurrence}")
        if key_id == self.key_in_mirror():
            self.add_violation(
                Invariant.MIRRORED, history, f"the key in AWSCURRENT was deleted for {attempt.occurrence}"
            )
        last = history.commits[-1] if history.commits else None
        if last is None or last.by is None or last.replaced != key_id:
            return
        seconds = attempt.call.entry.at - last.at
        if attempt.occurrence == last.by.occurrence:
            self.add_violation(
                Invariant.PREVIOUS, history, f"the same occurrence, {attempt.occurrence}, revoked the previous key"
            )
        elif seconds < attempt.margin_seconds - CLOCKS_DIFFER_SECONDS:
            self.add_violation(
                Invariant.PREVIOUS, history, f"the previous key was revoked {seconds:.0f} s after the rotation"
            )
