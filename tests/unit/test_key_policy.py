"""The promise of `check_keys`: no rotation deletes the published key, whatever clocks and attempts did."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.model import MappedRotation, RotationState
from rotator.rotation.key_policy import SETTLED_AFTER, LastUse, UserKey, UserKeys, check_keys
from rotator.rotation.policy import Decision, Verdict, check_due
from rotator.rotation.queues import VISIBILITY_TIMEOUT_SECONDS
from rotator.rotation.request import RotationRequest
from tests.unit.fakes import NOW, rotation_id

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
NOTHING = timedelta()

COMMITTED_AT = NOW - WEEK
GRACE_PERIOD = timedelta(hours=6)


def state(committed_at: datetime = COMMITTED_AT) -> RotationState:
    return RotationState(rotation_id(1), "payments", "success", committed_at, committed_at, None, user_name="deployer")


def request(*, forced: bool = False, occurred_at: datetime = NOW) -> RotationRequest:
    return RotationRequest(MappedRotation(rotation_id(1)), "weekly", occurred_at, "c", forced)


def key(key_id: str, since_commit: timedelta) -> UserKey:
    return UserKey(key_id, COMMITTED_AT + since_commit)


def used(ago: timedelta, at: datetime = NOW) -> LastUse:
    return LastUse(at - ago, "s3", "eu-central-1")


PREVIOUS = key("AKIAPREVIOUS", -WEEK)
PUBLISHED = key("AKIAPUBLISHED", -SECOND)
ORPHAN = key("AKIAORPHAN", 3 * DAY)
BOTH = (PREVIOUS, PUBLISHED)


def checked(
    *keys: UserKey, last_use: LastUse | None = None, forced: bool = False, grace_period: timedelta = GRACE_PERIOD
) -> Decision:
    return check_keys(state(), request(forced=forced), UserKeys(keys, last_use), grace_period, NOW)


EITHER_WAY = pytest.mark.parametrize("forced", [False, True], ids=["unforced", "forced"])
IN_ANY_ORDER = pytest.mark.parametrize("ordered", [list, lambda keys: keys[::-1]], ids=["as created", "reversed"])
Ordered = Callable[[Sequence[UserKey]], Sequence[UserKey]]


# ---- what may go ahead -----------------------------------------------------------------------------------------------


@IN_ANY_ORDER
def test_a_previous_key_that_was_never_used_may_go(ordered: Ordered) -> None:
    assert checked(*ordered(BOTH)) == Decision(Verdict.ROTATE, "Due")


@pytest.mark.parametrize("ago", [GRACE_PERIOD, WEEK], ids=["the grace period", "a week"])
def test_a_previous_key_may_go_that_was_not_used_for(ago: timedelta) -> None:
    assert checked(*BOTH, last_use=used(ago)).verdict is Verdict.ROTATE


def test_a_published_key_that_is_alone_loses_nothing() -> None:
    assert checked(PUBLISHED).verdict is Verdict.ROTATE


@pytest.mark.parametrize("since_commit", [-DAY, -10 * MINUTE, -5 * MINUTE - SECOND])
def test_a_foreign_key_older_than_the_published_one_may_be_deleted(
    since_commit: timedelta,
) -> None:
    assert checked(key("AKIATHEIRS", since_commit), PUBLISHED).verdict is Verdict.ROTATE


# ---- keys so young that Infisical's state may not show their commit yet ----------------------------------------------


def young(key_id: str = "AKIAYOUNG", age: timedelta = MINUTE) -> UserKey:
    return UserKey(key_id, NOW - age)


@EITHER_WAY
@pytest.mark.parametrize("age", [-2 * MINUTE, NOTHING, SECOND, SETTLED_AFTER - SECOND])
@pytest.mark.parametrize("others", [(PUBLISHED,), (PREVIOUS,), ()], ids=["published", "previous", "none"])
def test_a_young_key_beside_the_published_one_waits_and_is_not_accused(
    age: timedelta,
    others: tuple[UserKey, ...],
    forced: bool,  # noqa: FBT001 - a parameter
) -> None:
    decision = checked(*others, young(age=age), forced=forced)

    assert (decision.verdict, decision.reason) == (Verdict.WAIT, "UnsettledKey")
    assert "delete" not in decision.explanation


@EITHER_WAY
def test_a_second_key_becomes_an_orphan_once_it_has_settled(forced: bool) -> None:  # noqa: FBT001 - a parameter
    assert checked(PUBLISHED, young(age=SETTLED_AFTER), forced=forced).reason == "OrphanKey"


def test_a_published_key_that_is_young_itself_is_settled_by_infisicals_own_state() -> None:
    committed = NOW - 6 * MINUTE
    known, wish = state(committed), request(forced=True)

    decision = check_keys(known, wish, UserKeys((PREVIOUS, UserKey("AKIANEW", committed - SECOND))), GRACE_PERIOD, NOW)

    assert decision.verdict is Verdict.ROTATE


def test_a_key_settles_before_its_own_request_is_redelivered() -> None:
    assert SETTLED_AFTER.total_seconds() < VISIBILITY_TIMEOUT_SECONDS


# ---- inactive keys ---------------------------------------------------------------------------------------------------


def test_an_inactive_previous_key_is_not_in_use_whenever_it_was_used() -> None:
    inactive = replace(PREVIOUS, active=False)

    assert checked(inactive, PUBLISHED, last_use=used(MINUTE)).verdict is Verdict.ROTATE


def test_an_inactive_published_key_is_refused_with_the_command_to_reactivate() -> None:
    decision = checked(PREVIOUS, replace(PUBLISHED, active=False), last_use=used(MINUTE))

    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, "PublishedKeyInactive")
    command = "aws iam update-access-key --user-name deployer --access-key-id AKIAPUBLISHED --status Active"
    assert command in decision.explanation


def test_an_inactive_published_key_that_leaked_is_replaced_by_force() -> None:
    assert checked(PREVIOUS, replace(PUBLISHED, active=False), forced=True).verdict is Verdict.ROTATE


def test_an_inactive_orphan_is_refused_too() -> None:
    assert checked(PUBLISHED, replace(ORPHAN, active=False)).reason == "OrphanKey"


# ---- keys that nobody tracks -----------------------------------------------------------------------------------------


@EITHER_WAY
@IN_ANY_ORDER
@pytest.mark.parametrize("since_commit", [3 * DAY, HOUR, 3 * MINUTE, SECOND, NOTHING, -SECOND, -2 * MINUTE])
def test_a_second_key_that_may_be_newer_is_never_ignored(
    since_commit: timedelta,
    ordered: Ordered,
    forced: bool,  # noqa: FBT001 - a parameter
) -> None:
    keys = ordered([PUBLISHED, key("AKIAORPHAN", since_commit)])

    decision = checked(*keys, forced=forced)

    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, "OrphanKey")


@pytest.mark.parametrize("published_at", [-2 * MINUTE, -SECOND, NOTHING, 2 * MINUTE])
@pytest.mark.parametrize("created_at", [-2 * MINUTE, -SECOND, NOTHING, 2 * MINUTE, 150 * SECOND])
def test_two_keys_within_150_seconds_of_the_commit_are_indistinguishable(
    published_at: timedelta, created_at: timedelta
) -> None:
    assert checked(key("AKIAONE", published_at), key("AKIAOTHER", created_at)).reason == "OrphanKey"


def test_an_orphan_is_reported_before_the_use_of_the_other_key() -> None:
    assert checked(PUBLISHED, ORPHAN, last_use=used(HOUR)).reason == "OrphanKey"


@IN_ANY_ORDER
def test_an_orphans_explanation_names_both_keys_their_dates_and_commands(ordered: Ordered) -> None:
    explanation = checked(*ordered([PUBLISHED, ORPHAN])).explanation

    assert "the IAM user deployer has an access key" in explanation
    assert f"{ORPHAN.id}, created 2026-11-18T05:00:00.000Z" in explanation
    assert f"{PUBLISHED.id}, created 2026-11-15T04:59:59.000Z" in explanation
    assert "Infisical last rotated at 2026-11-15T05:00:00.000Z" in explanation
    of_user = "--user-name deployer --access-key-id AKIAORPHAN"
    assert commands_in(explanation) == [
        f"aws iam update-access-key {of_user} --status Inactive",
        f"aws iam delete-access-key {of_user}",
    ]


def commands_in(explanation: str) -> list[str]:
    """Every command, up to the punctuation that ends it."""
    return re.findall(r"aws iam [\w-]+(?: --[\w-]+ [\w+=,.@-]*\w)*", explanation)


@IN_ANY_ORDER
@pytest.mark.parametrize("since_commit", [-MINUTE, MINUTE], ids=["before", "after"])
def test_the_commands_for_an_ambiguous_pair_name_the_key_further_from_commit(
    since_commit: timedelta, ordered: Ordered
) -> None:
    commands = commands_in(checked(*ordered([PUBLISHED, key("AKIAFURTHER", since_commit)])).explanation)

    assert ["AKIAFURTHER" in command for command in commands] == [True, True]


@IN_ANY_ORDER
def test_no_suggested_command_deletes_the_published_key(ordered: Ordered) -> None:
    refusals = [
        checked(*ordered([PUBLISHED, ORPHAN])),
        checked(*BOTH, last_use=used(HOUR)),
        checked(PREVIOUS),
    ]

    assert [PUBLISHED.id in command for refusal in refusals for command in commands_in(refusal.explanation)] == [
        False,
        False,
    ]


# ---- keys in use -----------------------------------------------------------------------------------------------------


@IN_ANY_ORDER
@pytest.mark.parametrize("ago", [-MINUTE, NOTHING, HOUR, GRACE_PERIOD - SECOND], ids=str)
def test_a_previous_key_that_was_used_within_the_grace_period_stays(ago: timedelta, ordered: Ordered) -> None:
    decision = checked(*ordered(BOTH), last_use=used(ago))

    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, "KeyInUse")


@IN_ANY_ORDER
def test_a_key_in_use_is_explained_with_its_last_consumer(ordered: Ordered) -> None:
    explanation = checked(*ordered(BOTH), last_use=used(HOUR)).explanation

    assert f"the access key {PREVIOUS.id} of the IAM user deployer, which a rotation deletes" in explanation
    assert "was used at 2026-11-22T04:00:00.000Z for s3 in eu-central-1" in explanation
    assert PUBLISHED.id not in explanation
    assert commands_in(explanation) == []


@pytest.mark.parametrize(("grace_period", "reason"), [(HOUR, "Due"), (2 * HOUR, "KeyInUse")], ids=["over", "not over"])
def test_the_configured_grace_period_counts(grace_period: timedelta, reason: str) -> None:
    assert checked(*BOTH, last_use=used(HOUR), grace_period=grace_period).reason == reason


# ---- keys that are missing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys",
    [(), (PREVIOUS,), (ORPHAN,), (PREVIOUS, ORPHAN), (key("AKIALATE", 151 * SECOND),), (key("AKIAEARLY", -DAY),)],
    ids=["none", "an older one", "a newer one", "both", "shortly after", "a day before"],
)
def test_a_user_without_the_published_key_is_refused(keys: tuple[UserKey, ...]) -> None:
    decision = checked(*keys)

    assert (decision.verdict, decision.reason) == (Verdict.REFUSE, "PublishedKeyMissing")
    assert f"none of the {len(keys)} access keys of the IAM user deployer" in decision.explanation
    assert "at 2026-11-15T05:00:00.000Z" in decision.explanation
    assert commands_in(decision.explanation) == []


@pytest.mark.parametrize("since_commit", [-90 * SECOND - 2 * MINUTE, NOTHING, 2 * MINUTE], ids=str)
def test_the_published_key_is_recognised_despite_a_slow_commit_and_clock_skew(
    since_commit: timedelta,
) -> None:
    assert checked(PREVIOUS, key("AKIAPUBLISHED", since_commit)).verdict is Verdict.ROTATE


# ---- a person has looked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "last_use"),
    [
        (BOTH, used(NOTHING)),
        ((), None),
        ((PREVIOUS,), None),
        ((PREVIOUS, ORPHAN), None),
        ((PREVIOUS, ORPHAN), used(HOUR)),
    ],
    ids=["key in use", "no keys", "published key gone", "two others", "two others in use"],
)
def test_force_overrides_a_key_in_use_and_a_missing_published_key(
    keys: tuple[UserKey, ...], last_use: LastUse | None
) -> None:
    assert checked(*keys, last_use=last_use).verdict is Verdict.REFUSE
    assert checked(*keys, last_use=last_use, forced=True) == Decision(Verdict.ROTATE, "Due")


# ---- whole histories -------------------------------------------------------------------------------------------------


class End(Enum):
    """How an attempt ends inside Infisical."""

    COMMITS = auto()
    DIES_AFTER_DELETE = auto()
    DIES_AFTER_CREATE = auto()


@dataclass(frozen=True)
class Attempt:
    """An occurrence of a trigger, and the attempt that follows it where it may.

    It occurs at the least distance to the last commit and a `gap` more, by the trigger's clock, which is `ahead` of
    Infisical's; the attempt begins a `delay` later, and its commit takes `seconds`. The key that goes was used last
    so long before, if ever. Before all that a stranger may create a key, so long after the attempt before, if there is
    room for one; or a person take away what Infisical does not know.
    """

    gap: timedelta
    end: End = End.COMMITS
    ahead: timedelta = NOTHING
    delay: timedelta = NOTHING
    seconds: timedelta = NOTHING
    forced: bool = True
    used: timedelta | None = None
    stranger: timedelta | None = None
    cleared: bool = False


@dataclass(frozen=True)
class History:
    """Attempts, after a first key whose commit took `seconds`. IAM's clock is `ahead` of Infisical's."""

    attempts: list[Attempt]
    ahead: timedelta = NOTHING
    seconds: timedelta = NOTHING
    least: timedelta = 5 * MINUTE


class Infisical:
    """What the server does with the user's keys. All moments are by its own clock."""

    def __init__(self, committed_at: datetime, seconds: timedelta) -> None:
        self.last_rotated_at = committed_at
        self.made: dict[str, datetime] = {}
        self.untracked: set[str] = set()
        self._number = count()
        self.published = self._create(committed_at - seconds)

    @property
    def next_to_go(self) -> str | None:
        """What a rotation deletes: the oldest of two, whoever made it."""
        return min(self.made, key=self.made.__getitem__) if len(self.made) == 2 else None

    def rotate(self, at: datetime, end: End, seconds: timedelta) -> None:
        if self.next_to_go is not None:
            del self.made[self.next_to_go]
        if end is End.DIES_AFTER_DELETE:
            return
        created = self._create(at)
        if end is End.DIES_AFTER_CREATE:
            self.untracked.add(created)
            return
        self.published, self.last_rotated_at = created, at + seconds

    def stranger_creates(self, at: datetime) -> None:
        if len(self.made) < 2:
            self.untracked.add(self._create(at))

    def clear(self) -> None:
        self.made = {key_id: at for key_id, at in self.made.items() if key_id not in self.untracked}

    def _create(self, at: datetime) -> str:
        key_id = f"AKIA{next(self._number)}"
        self.made[key_id] = at
        return key_id


@dataclass(frozen=True)
class Moment:
    """A rotation that is due: what there is, and what would go."""

    known: RotationState
    request: RotationRequest
    user: UserKeys
    now: datetime
    published: str
    next_to_go: str | None

    def checked(self, *, forced: bool) -> Decision:
        return check_keys(self.known, replace(self.request, forced=forced), self.user, GRACE_PERIOD, self.now)

    @property
    def decision(self) -> Decision:
        return self.checked(forced=self.request.forced)


def play(history: History) -> list[Moment]:
    """Let the attempts follow one another as the queue does, each where it is due and `check_keys` lets it."""
    now = NOW - WEEK
    infisical = Infisical(now, history.seconds)
    moments = []
    for attempt in history.attempts:
        if attempt.cleared:
            infisical.clear()
        if attempt.stranger is not None:
            now += attempt.stranger
            infisical.stranger_creates(now)
        wish = request(
            forced=attempt.forced, occurred_at=infisical.last_rotated_at + history.least + TICK + attempt.gap
        )
        now = max(now, wish.occurred_at - attempt.ahead) + attempt.delay
        moment = look(infisical, wish, now, history.ahead, attempt.used)
        moments.append(moment)
        assert check_due(moment.known, wish, SECOND).verdict is Verdict.ROTATE
        if moment.decision.verdict is Verdict.ROTATE:
            infisical.rotate(now, attempt.end, attempt.seconds)
            now = max(now, infisical.last_rotated_at)
    return moments


def look(
    infisical: Infisical, wish: RotationRequest, now: datetime, iam_ahead: timedelta, used_ago: timedelta | None
) -> Moment:
    """IAM dates by its own clock, in whole seconds."""
    keys = tuple(UserKey(key_id, (at + iam_ahead).replace(microsecond=0)) for key_id, at in infisical.made.items())
    last_use = used(used_ago, now) if len(keys) == 2 and used_ago is not None else None
    return Moment(
        state(infisical.last_rotated_at),
        wish,
        UserKeys(keys, last_use),
        now,
        infisical.published,
        infisical.next_to_go,
    )


TICK = timedelta(milliseconds=1)


def spans(shortest: timedelta, longest: timedelta) -> st.SearchStrategy[timedelta]:
    """Any millisecond between the two, and often one of them."""
    ticks = st.integers(shortest // TICK, longest // TICK)
    return st.sampled_from([shortest, longest]) | ticks.map(lambda number: number * TICK)


TWO_MINUTES_OFF = spans(-2 * MINUTE, 2 * MINUTE)
COMMIT_TIMES = spans(NOTHING, 90 * SECOND)
DELAYS = st.just(NOTHING) | spans(NOTHING, HOUR)
IDLE = st.none() | spans(GRACE_PERIOD, WEEK)
ANY_USE = IDLE | spans(NOTHING, GRACE_PERIOD)
STRANGERS = st.none() | spans(NOTHING, 5 * MINUTE)
ANY_END = st.sampled_from(End)
CLEAN_ENDS = st.sampled_from([End.COMMITS, End.DIES_AFTER_DELETE])


@st.composite
def histories(
    draw: st.DrawFn,
    ends: st.SearchStrategy[End] = ANY_END,
    *,
    off: st.SearchStrategy[timedelta] = TWO_MINUTES_OFF,
    used: st.SearchStrategy[timedelta | None] = ANY_USE,
    strangers: st.SearchStrategy[timedelta | None] = STRANGERS,
    least: timedelta = 5 * MINUTE,
) -> History:
    attempt = st.builds(
        Attempt,
        gap=st.just(NOTHING) | spans(NOTHING, 10 * MINUTE) | spans(NOTHING, WEEK),
        end=ends,
        ahead=off,
        delay=DELAYS,
        seconds=COMMIT_TIMES,
        forced=st.booleans(),
        used=used,
        stranger=strangers,
        cleared=st.booleans(),
    )
    attempts = st.lists(attempt, min_size=1, max_size=6)
    return History(draw(attempts), ahead=draw(off), seconds=draw(COMMIT_TIMES), least=least)


EARLIEST_ORPHAN = History([Attempt(NOTHING, End.DIES_AFTER_CREATE), Attempt(NOTHING)])
# To IAM the published key is 210 s older than its commit, or nearly 211 where the commit was not on a whole second; and
# the orphan, which comes as early as it can, is 60 s younger.
EARLY_ORPHAN = Attempt(NOTHING, End.DIES_AFTER_CREATE, ahead=2 * MINUTE)
EVERY_CLOCK_OFF = History([EARLY_ORPHAN, Attempt(DAY)], ahead=-2 * MINUTE, seconds=90 * SECOND)
AND_WHOLE_SECONDS = History([Attempt(998 * TICK, seconds=90 * SECOND), EARLY_ORPHAN, Attempt(DAY)], ahead=-2 * MINUTE)


@given(histories())
@example(EARLIEST_ORPHAN)
@example(EVERY_CLOCK_OFF)
@example(AND_WHOLE_SECONDS)
def test_an_approved_rotation_never_deletes_the_published_key(history: History) -> None:
    for moment in play(history):
        assert moment.decision.verdict is not Verdict.ROTATE or moment.next_to_go != moment.published


@given(histories())
@example(AND_WHOLE_SECONDS)
def test_an_existing_published_key_is_always_found(history: History) -> None:
    for moment in play(history):
        is_there = moment.published in {key.id for key in moment.user.keys}
        assert not is_there or moment.checked(forced=False).reason != "PublishedKeyMissing"


@given(histories())
def test_a_key_used_within_the_grace_period_is_deleted_only_by_force(history: History) -> None:
    for moment in play(history):
        last_use = moment.user.last_use
        in_use = last_use is not None and moment.now - last_use.at < GRACE_PERIOD
        assert not in_use or moment.checked(forced=False).verdict is not Verdict.ROTATE


@given(histories())
def test_force_stops_at_orphans_and_at_nothing_else(history: History) -> None:
    for moment in play(history):
        unforced, forced = moment.checked(forced=False), moment.checked(forced=True)
        never_forced = unforced.reason in ("OrphanKey", "UnsettledKey")
        assert forced == (unforced if never_forced else Decision(Verdict.ROTATE, "Due"))


@given(
    histories(CLEAN_ENDS, used=IDLE, strangers=st.none(), least=10 * MINUTE)
    | histories(CLEAN_ENDS, off=st.just(NOTHING), used=IDLE, strangers=st.none())
)
def test_rotations_of_tracked_and_unused_keys_always_go_ahead(history: History) -> None:
    """Ten minutes after the last one whatever the clocks, and five where they agree."""
    assert [moment.decision.reason for moment in play(history)] == ["Due"] * len(history.attempts)


@given(histories(used=IDLE, least=10 * MINUTE))
def test_deleting_the_untracked_key_lets_the_next_rotation_go_ahead(history: History) -> None:
    cured = replace(history, attempts=[*history.attempts, Attempt(HOUR, forced=False, cleared=True)])

    assert play(cured)[-1].decision.reason == "Due"
