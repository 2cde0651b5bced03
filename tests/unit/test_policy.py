"""The promise of `decide`: for every state and every request, not for chosen ones."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.model import DEFAULT_TYPE, GuardOptions, MappedRotation, RotationOptions, RotationState
from rotator.rotation.policy import Decision, Verdict, check_due
from rotator.rotation.request import RotationRequest
from tests.unit.fakes import NOW, rotation_id

TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
FIVE_SECONDS = timedelta(seconds=5)
FIVE_MINUTES = timedelta(minutes=5)
HOUR = timedelta(hours=1)
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Situation:
    """What `decide` is asked about."""

    state: RotationState
    request: RotationRequest
    default_interval: timedelta

    @property
    def margin(self) -> timedelta:
        if self.request.forced:
            return FIVE_MINUTES
        own = self.request.rotation.options.minimum_interval
        return max(FIVE_MINUTES, self.default_interval if own is None else own)

    @property
    def rotated_before_trigger(self) -> timedelta:
        """How long before the trigger the last rotation was; negative where it came after."""
        return self.request.occurred_at - self.state.last_rotated_at

    @property
    def is_due(self) -> bool:
        return self.rotated_before_trigger > self.margin

    @property
    def failed_since_commit(self) -> bool:
        failed_after = self.state.last_attempted_at - self.state.last_rotated_at
        return self.state.status == "failed" and failed_after > FIVE_SECONDS

    @property
    def blocked(self) -> bool:
        return self.failed_since_commit and not self.request.forced and not self.guarded

    @property
    def guarded(self) -> bool:
        rotation = self.request.rotation
        return rotation.type == DEFAULT_TYPE and rotation.options.guard is not None

    def forced(self, *, forced: bool = True) -> "Situation":
        return replace(self, request=replace(self.request, forced=forced))

    def decide(self) -> Decision:
        return check_due(self.state, self.request, self.default_interval)


def state(rotated_at: datetime, *, status: str = "success", attempted_at: datetime | None = None) -> RotationState:
    return RotationState(rotation_id(1), "payments", status, rotated_at, attempted_at or rotated_at, None)


UNGUARDED = MappedRotation(rotation_id(1), options=RotationOptions(guard=None))
GUARDED = MappedRotation(rotation_id(1))
OF_ANOTHER_TYPE = MappedRotation(rotation_id(1), "postgres-credentials")


def request(
    occurred_at: datetime,
    *,
    own_interval: timedelta | None = None,
    forced: bool = False,
    rotation: MappedRotation = UNGUARDED,
) -> RotationRequest:
    return RotationRequest(with_interval(rotation, own_interval), "weekly", occurred_at, "c", forced)


def with_interval(rotation: MappedRotation, interval: timedelta | None) -> MappedRotation:
    return replace(rotation, options=replace(rotation.options, minimum_interval=interval))


FAILED = state(NOW - WEEK, status="failed", attempted_at=NOW - HOUR)


def spans(shortest: timedelta, longest: timedelta) -> st.SearchStrategy[timedelta]:
    """Any microsecond between the two: one number is drawn faster than days, seconds and microseconds."""
    return st.integers(shortest // TICK, longest // TICK).map(lambda ticks: ticks * TICK)


MOMENTS = spans(timedelta(0), timedelta(days=7305)).map(lambda since: datetime(2020, 1, 1, tzinfo=UTC) + since)
INTERVALS = spans(SECOND, timedelta(days=400)) | st.sampled_from([SECOND, FIVE_MINUTES, HOUR, WEEK])
DISTANCES = spans(timedelta(0), timedelta(days=1000)) | st.sampled_from([timedelta(0), TICK])
SKEWS = spans(-FIVE_MINUTES, FIVE_MINUTES) | st.sampled_from([-FIVE_MINUTES, timedelta(0), FIVE_MINUTES])
STATUSES = st.just("failed") | st.sampled_from(["success", "pending", "Failed", ""])
TEXTS = st.text(max_size=9)
MESSAGES = st.sampled_from([None, "", "no such luck"])
GUARDS_ROLE = GuardOptions("arn:aws:iam::123456789012:role/guard", HOUR)
GUARDS = st.none() | st.sampled_from([GuardOptions(), GUARDS_ROLE])
OPTIONS = st.builds(RotationOptions, guard=GUARDS)
MAPPED = st.builds(MappedRotation, st.just(rotation_id(1)), options=OPTIONS) | st.just(OF_ANOTHER_TYPE)


@st.composite
def around(draw: st.DrawFn, edge: timedelta) -> timedelta:
    """As often beyond an edge as not, and often just there."""
    distance = draw(DISTANCES)
    return edge + TICK + distance if draw(st.booleans()) else edge - distance


@st.composite
def states(draw: st.DrawFn, rotated_at: datetime) -> RotationState:
    """Whatever may be known of a rotation that was last rotated at this moment."""
    attempted_at = rotated_at + draw(around(FIVE_SECONDS))
    return RotationState(rotation_id(1), "payments", draw(STATUSES), rotated_at, attempted_at, draw(MESSAGES))


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Anything at all, mostly near an edge: left to chance, hardly any rotation would be due and failed."""
    wish = request(
        draw(MOMENTS), own_interval=draw(st.none() | INTERVALS), forced=draw(st.booleans()), rotation=draw(MAPPED)
    )
    default = draw(INTERVALS)
    margin = Situation(state(NOW), wish, default).margin
    rotated_before_trigger = draw(around(margin) | around(timedelta(0)))
    return Situation(draw(states(wish.occurred_at - rotated_before_trigger)), wish, default)


# ---- one trigger, one rotation ---------------------------------------------------------------------------------------


@given(situations())
def test_a_rotation_newer_than_the_trigger_is_never_repeated(situation: Situation) -> None:
    rotated_since = situation.rotated_before_trigger <= timedelta(0)

    assert (situation.decide().reason == "AlreadyRotated") == rotated_since


@given(situations(), SKEWS, DISTANCES)
@example(Situation(state(NOW), request(NOW), SECOND), -FIVE_MINUTES, timedelta(0))
@example(Situation(state(NOW), request(NOW, forced=True), WEEK), -FIVE_MINUTES, timedelta(0))
def test_a_rotation_ends_its_trigger_despite_five_minutes_of_clock_skew(
    situation: Situation, skew: timedelta, delay: timedelta
) -> None:
    rotated_at = situation.request.occurred_at + delay + skew
    after_rotation = replace(
        situation, state=replace(situation.state, last_rotated_at=rotated_at, last_attempted_at=rotated_at)
    )

    assert after_rotation.decide().verdict is Verdict.SKIP


@given(situations(), DISTANCES)
def test_a_trigger_that_was_skipped_stays_skipped(situation: Situation, later: timedelta) -> None:
    rotated_at = situation.state.last_rotated_at + later
    at_redelivery = replace(situation, state=replace(situation.state, last_rotated_at=rotated_at))

    assert situation.decide().verdict is not Verdict.SKIP or at_redelivery.decide().verdict is Verdict.SKIP


# ---- never a key taken away that consumers still need ----------------------------------------------------------------


@given(situations())
def test_rotations_keep_five_minutes_or_the_minimum_interval_apart(
    situation: Situation,
) -> None:
    too_soon = timedelta(0) < situation.rotated_before_trigger <= situation.margin

    assert (situation.decide().reason == "TooSoon") == too_soon


@given(situations(), INTERVALS)
def test_the_interval_of_the_map_overrides_the_default(situation: Situation, other_default: timedelta) -> None:
    own_interval = situation.default_interval
    rotation = with_interval(situation.request.rotation, own_interval)
    mapped = replace(situation, request=replace(situation.request, rotation=rotation))

    assert replace(mapped, default_interval=other_default).decide() == mapped.decide()


@given(situations())
def test_the_default_interval_counts_if_the_map_sets_none(situation: Situation) -> None:
    rotation = with_interval(situation.request.rotation, None)
    unmapped = replace(situation, request=replace(situation.request, rotation=rotation))
    rotation = with_interval(rotation, situation.default_interval)
    mapped = replace(situation, request=replace(situation.request, rotation=rotation))

    assert unmapped.decide() == mapped.decide()


def test_an_interval_as_long_as_the_period_skips_every_other_occurrence() -> None:
    rotated_for_the_first = state(NOW + SECOND)
    second = request(NOW + WEEK)

    assert check_due(rotated_for_the_first, second, minimum_interval=WEEK).verdict is Verdict.SKIP


@given(situations())
@example(Situation(FAILED, request(NOW), HOUR))
@example(Situation(FAILED, request(NOW, forced=True), HOUR))
@example(Situation(FAILED, request(NOW, rotation=GUARDED), HOUR))
def test_a_previous_failure_refuses_only_due_and_unguarded_rotations(situation: Situation) -> None:
    assert (situation.decide().verdict is Verdict.REFUSE) == (situation.is_due and situation.blocked)


@pytest.mark.parametrize(
    ("rotation", "reason"),
    [
        (GUARDED, "Due"),
        (replace(GUARDED, options=RotationOptions(guard=GUARDS_ROLE)), "Due"),
        (UNGUARDED, "PreviousAttemptFailed"),
        (OF_ANOTHER_TYPE, "PreviousAttemptFailed"),
        (replace(OF_ANOTHER_TYPE, options=RotationOptions(guard=None)), "PreviousAttemptFailed"),
    ],
    ids=["guarded", "guarded in its own way", "switched off", "another type", "another type, switched off"],
)
def test_a_failed_attempt_stands_in_the_way_where_no_key_guard_looks(rotation: MappedRotation, reason: str) -> None:
    assert check_due(FAILED, request(NOW, rotation=rotation), HOUR).reason == reason


# ---- a person has looked ---------------------------------------------------------------------------------------------


@given(situations(), st.none() | INTERVALS, INTERVALS)
def test_a_forced_rotation_ignores_the_minimum_interval(
    situation: Situation, own_interval: timedelta | None, default_interval: timedelta
) -> None:
    forced = situation.forced()
    rotation = with_interval(forced.request.rotation, own_interval)
    otherwise = Situation(forced.state, replace(forced.request, rotation=rotation), default_interval)

    assert otherwise.decide() == forced.decide()


@given(situations())
def test_every_rotation_that_is_due_unforced_is_due_forced_too(situation: Situation) -> None:
    unforced = situation.forced(forced=False).decide()

    assert unforced.verdict is not Verdict.ROTATE or situation.forced().decide() == unforced


# ---- never a silence -------------------------------------------------------------------------------------------------


@given(situations())
def test_a_due_rotation_in_a_clean_state_or_forced_is_always_rotated(situation: Situation) -> None:
    assert (situation.decide().verdict is Verdict.ROTATE) == (situation.is_due and not situation.blocked)


@given(situations())
def test_every_decision_against_a_rotation_is_explained(situation: Situation) -> None:
    decision = situation.decide()

    assert decision.verdict is Verdict.ROTATE or decision.explanation


@given(st.text(min_size=1, max_size=99))
def test_a_refusal_quotes_infisical(text: str) -> None:
    failed = replace(FAILED, last_message=text)

    assert text in check_due(failed, request(NOW), HOUR).explanation


# ---- nothing else counts ---------------------------------------------------------------------------------------------


@given(
    situations(), st.builds(MappedRotation, id=st.uuids().map(str), type=TEXTS, options=OPTIONS), TEXTS, TEXTS, TEXTS
)
def test_names_ids_types_and_texts_do_not_affect_the_decision(
    situation: Situation, other: MappedRotation, trigger: str, correlation_id: str, name: str
) -> None:
    rotation = with_interval(other, situation.request.rotation.options.minimum_interval)
    if situation.guarded:
        rotation = replace(
            rotation,
            type=DEFAULT_TYPE,
            options=replace(rotation.options, guard=rotation.options.guard or GuardOptions()),
        )
    renamed = Situation(
        replace(situation.state, id=rotation.id, name=name),
        replace(situation.request, rotation=rotation, trigger=trigger, correlation_id=correlation_id),
        situation.default_interval,
    )

    assert renamed.decide() == situation.decide()


@given(situations(), MOMENTS, TEXTS)
def test_attempts_and_messages_decide_nothing_where_the_state_is_not_failed(
    situation: Situation, attempted_at: datetime, message: str
) -> None:
    clean = replace(situation, state=replace(situation.state, status="success"))
    told_otherwise = replace(clean.state, last_attempted_at=attempted_at, last_message=message)

    assert replace(clean, state=told_otherwise).decide() == clean.decide()


@given(situations(), spans(timedelta(days=-3000), timedelta(days=3000)))
def test_the_decision_reads_no_clock(situation: Situation, shift: timedelta) -> None:
    shifted_state = replace(
        situation.state,
        last_rotated_at=situation.state.last_rotated_at + shift,
        last_attempted_at=situation.state.last_attempted_at + shift,
    )
    shifted_request = replace(situation.request, occurred_at=situation.request.occurred_at + shift)

    assert Situation(shifted_state, shifted_request, situation.default_interval).decide() == situation.decide()


# ---- a whole history -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """Occurrences of triggers of one rotation, each delivered at least once, at some time after it occurred."""

    occurrences: list[datetime]
    forced: list[bool]
    deliveries: list[tuple[datetime, int]]
    seconds_to_rotate: list[int]
    skew: timedelta
    last_rotated_at: datetime
    interval: timedelta

    def request(self, number: int) -> RotationRequest:
        return request(self.occurrences[number], forced=self.forced[number])

    def margin(self, number: int) -> timedelta:
        return FIVE_MINUTES if self.forced[number] else max(FIVE_MINUTES, self.interval)


@dataclass
class Played:
    """What became of a history. `rotated` holds, in order, the occurrence and the moment that Infisical recorded."""

    rotated: list[tuple[int, datetime]]
    last_rotated_at: datetime


DELAYS = spans(timedelta(0), timedelta(minutes=15)) | spans(timedelta(0), timedelta(days=14))


@st.composite
def histories(draw: st.DrawFn) -> History:
    gaps = draw(st.lists(spans(timedelta(0), timedelta(days=3)) | DELAYS, min_size=1, max_size=5))
    occurrences = [NOW + sum(gaps[: position + 1], timedelta(0)) for position in range(len(gaps))]
    delays = [draw(st.lists(DELAYS, min_size=1, max_size=4)) for _ in occurrences]
    deliveries = [
        (occurred_at + delay, number) for number, occurred_at in enumerate(occurrences) for delay in delays[number]
    ]
    return History(
        occurrences=occurrences,
        forced=draw(st.lists(st.booleans(), min_size=len(occurrences), max_size=len(occurrences))),
        deliveries=sorted(deliveries),
        seconds_to_rotate=draw(st.lists(st.integers(0, 90), min_size=len(deliveries), max_size=len(deliveries))),
        skew=draw(SKEWS),
        last_rotated_at=NOW - draw(DISTANCES),
        interval=draw(spans(SECOND, timedelta(days=2))),
    )


def play(history: History) -> Played:
    """Deliver one after the other, as one message group does, to a rotation whose clock differs by the skew."""
    played = Played([], history.last_rotated_at)
    free_at = NOW
    for (delivered_at, number), seconds in zip(history.deliveries, history.seconds_to_rotate, strict=True):
        wish = history.request(number)
        began_at = max(delivered_at, free_at)
        if check_due(state(played.last_rotated_at), wish, history.interval).verdict is Verdict.ROTATE:
            free_at = began_at + timedelta(seconds=seconds)
            played.last_rotated_at = free_at + history.skew
            played.rotated.append((number, played.last_rotated_at))
    return played


@given(histories())
def test_one_trigger_causes_at_most_one_rotation(history: History) -> None:
    rotations = Counter(number for number, _ in play(history).rotated)

    assert all(times == 1 for times in rotations.values())


@given(histories())
def test_rotations_keep_their_distance_to_the_next_trigger(history: History) -> None:
    rotated = play(history).rotated

    for (_, rotated_at), (number, _) in pairwise(rotated):
        assert history.occurrences[number] - rotated_at > history.margin(number)


@given(histories())
def test_every_trigger_is_fulfilled_in_the_end(history: History) -> None:
    last_rotated_at = play(history).last_rotated_at

    for number, occurred_at in enumerate(history.occurrences):
        assert last_rotated_at >= occurred_at - history.margin(number)


# ---- the edges, pinned -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rotated_before_trigger", "reason"),
    [
        (-TICK, "AlreadyRotated"),
        (timedelta(0), "AlreadyRotated"),
        (TICK, "TooSoon"),
        (HOUR, "TooSoon"),
        (HOUR + TICK, "Due"),
    ],
)
def test_the_edges_of_the_minimum_interval(rotated_before_trigger: timedelta, reason: str) -> None:
    assert check_due(state(NOW - rotated_before_trigger), request(NOW), HOUR).reason == reason


@pytest.mark.parametrize(
    ("rotated_before_trigger", "reason"), [(FIVE_MINUTES, "TooSoon"), (FIVE_MINUTES + TICK, "Due")]
)
def test_five_minutes_count_where_the_interval_is_shorter(rotated_before_trigger: timedelta, reason: str) -> None:
    own_interval = timedelta(minutes=1)

    decision = check_due(state(NOW - rotated_before_trigger), request(NOW, own_interval=own_interval), HOUR)

    assert decision.reason == reason


@pytest.mark.parametrize(
    ("failed_after_success", "verdict"),
    [
        (timedelta(0), Verdict.ROTATE),
        (FIVE_SECONDS, Verdict.ROTATE),
        (FIVE_SECONDS + TICK, Verdict.REFUSE),
        (HOUR, Verdict.REFUSE),
    ],
)
def test_a_failure_within_five_seconds_of_a_commit_belongs_to_that_commit(
    failed_after_success: timedelta, verdict: Verdict
) -> None:
    rotated_at = NOW - WEEK
    failed = state(rotated_at, status="failed", attempted_at=rotated_at + failed_after_success)

    assert check_due(failed, request(NOW), HOUR).verdict is verdict


@pytest.mark.parametrize(
    ("rotated_before_trigger", "reason"),
    [
        (-TICK, "AlreadyRotated"),
        (timedelta(0), "AlreadyRotated"),
        (TICK, "TooSoon"),
        (FIVE_MINUTES, "TooSoon"),
        (FIVE_MINUTES + TICK, "Due"),
    ],
)
def test_the_edges_of_what_is_forced(rotated_before_trigger: timedelta, reason: str) -> None:
    failed = state(NOW - rotated_before_trigger, status="failed", attempted_at=NOW + HOUR)

    assert check_due(failed, request(NOW, own_interval=WEEK, forced=True), WEEK).reason == reason


def test_a_failed_state_does_not_turn_a_duplicate_into_a_refusal() -> None:
    failed_afterwards = state(NOW + SECOND, status="failed", attempted_at=NOW + HOUR)

    assert check_due(failed_afterwards, request(NOW), HOUR).reason == "AlreadyRotated"
