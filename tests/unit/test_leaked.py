"""`make leaked`: what it decides in each state, and that it can be killed anywhere and run again."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infisical_rotation_triggers.leaked.plan import Act, Consent, Facts, Kind, Rotation, Status, describe_kind, plan
from infisical_rotation_triggers.leaked.run import ask
from infisical_rotation_triggers.leaked.steps import NOT_CONFIRMED, ROTATION_SECONDS, Response
from rotator.model import MappedRotation, RotationState
from rotator.rotation.key_policy import SETTLED_AFTER, LastUse, UserKey, UserKeys, check_keys
from rotator.rotation.policy import Verdict, check_due
from rotator.rotation.request import RotationRequest
from rotator.timestamps import from_epoch
from tests.unit.fakes import NOW, VirtualClock, rotation_id

LEAKED, OTHER, USER = "AKIALEAKED", "AKIAOTHER", "deployer"
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
GRACE_PERIOD = 6 * HOUR
TYPED = frozenset({Consent.DEACTIVATE})


def rotation(last_rotated_at: datetime = NOW - WEEK, **fields: object) -> Rotation:
    made = Rotation(rotation_id(1), "payments", "weekly", last_rotated_at, GRACE_PERIOD)
    return replace(made, **fields)  # type: ignore[arg-type] # fields of its own


def facts(
    *keys: UserKey, of: Rotation | None = None, used: dict[str, datetime] | None = None, unread: str = ""
) -> Facts:
    uses = {key_id: LastUse(at, "s3", "eu-central-1") for key_id, at in (used or {}).items()}
    return Facts(NOW, LEAKED, USER, UserKeys(keys), uses, of, unread)


def published_alone(**fields: object) -> Facts:
    return facts(UserKey(LEAKED, NOW - WEEK), of=rotation(**fields))  # type: ignore[arg-type]


def previous(*, rotated: timedelta = WEEK, used: timedelta | None = None, other_active: bool = True) -> Facts:
    """The leaked key was replaced `rotated` ago, and last used `used` ago."""
    uses = {} if used is None else {LEAKED: NOW - used}
    keys = UserKey(LEAKED, NOW - 5 * WEEK), UserKey(OTHER, NOW - rotated, other_active)
    return facts(*keys, of=rotation(NOW - rotated), used=uses)


def orphan(*, age: timedelta = DAY) -> Facts:
    return facts(UserKey(OTHER, NOW - WEEK), UserKey(LEAKED, NOW - age), of=rotation())


def inactive(state: Facts) -> Facts:
    keys = tuple(replace(key, active=key.active and key.id != LEAKED) for key in state.user.keys)
    return replace(state, user=UserKeys(keys))


def unclear() -> Facts:
    return facts(UserKey(LEAKED, NOW - WEEK), UserKey(OTHER, NOW - WEEK + timedelta(minutes=1)), of=rotation())


OUT_OF_REACH = facts(
    UserKey(LEAKED, NOW - WEEK), unread="The stack cannot read a rotation of the map (Unreachable): down"
)


# ---- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        previous(),
        previous(used=timedelta()),
        previous(rotated=7 * HOUR),
        previous(rotated=20 * HOUR, used=7 * HOUR),
        orphan(),
        orphan(age=SETTLED_AFTER),
    ],
    ids=["previous", "previous, used now", "unused since", "fallen silent", "orphan", "settled orphan"],
)
def test_a_key_that_consumers_have_left_is_deactivated_at_once(state: Facts) -> None:
    step = plan(state, frozenset())

    assert step.act is Act.DEACTIVATE
    assert f"--user-name {USER} --access-key-id {LEAKED} --status Active" in step.text


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (previous(rotated=HOUR), "after 2026-11-22T10:00:00.000Z"),
        (previous(rotated=7 * HOUR, used=HOUR), "after 2026-11-22T10:00:00.000Z"),
        (previous(rotated=23 * HOUR, used=HOUR), "after 2026-11-22T06:00:00.000Z"),  # a day after the rotation
        (previous(other_active=False), f"--access-key-id {OTHER} --status Active"),
        (orphan(age=SETTLED_AFTER - timedelta(seconds=1)), "after 2026-11-22T05:00:01.000Z"),
        (unclear(), "see in Infisical which key payments has"),
        (OUT_OF_REACH, "Unreachable): down, so it is unknown which key is published"),
        (replace(previous(), unread="The stack cannot read a rotation"), "The stack cannot read a rotation"),
        (published_alone(refusal="Infisical is down"), "Infisical is down"),
        (published_alone(mirrored=True, trigger="arn:secret"), "rotate-secret --secret-id arn:secret"),
        (facts(UserKey(LEAKED, NOW - WEEK), UserKey(OTHER, NOW - DAY), of=rotation(refusal="OrphanKey")), "OrphanKey"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_key_that_consumers_may_need_is_deactivated_only_when_a_person_types_the_name(
    state: Facts, says: str
) -> None:
    step = plan(state, frozenset())

    assert (step.act, step.status, step.needs) == (Act.STOP, Status.UNFINISHED, (Consent.DEACTIVATE,))
    assert step.text.startswith(f"{LEAKED} still works. ")
    assert says in step.text
    assert plan(state, TYPED).act is Act.DEACTIVATE


@pytest.mark.parametrize("consents", [frozenset(), TYPED], ids=["nothing allowed", "name typed"])
@pytest.mark.parametrize("state", [published_alone(), inactive(published_alone())], ids=["active", "inactive"])
def test_a_published_key_is_rotated_first(state: Facts, consents: frozenset[Consent]) -> None:
    step = plan(state, consents)

    assert step.act is Act.ROTATE
    assert "for the moment 2026-11-15T05:05:00.001Z" in step.text


def test_the_moment_of_a_forced_rotation_is_due_and_its_repetition_is_not() -> None:
    before = rotation().last_rotated_at
    moment = rotation().moment
    asked = RotationRequest(MappedRotation(rotation_id(1)), "weekly", moment, "id", forced=True)

    def verdict(last_rotated_at: datetime) -> Verdict:
        state = RotationState(asked.rotation.id, "payments", "success", last_rotated_at, last_rotated_at, None)
        return check_due(state, asked, timedelta()).verdict

    assert verdict(before) is Verdict.ROTATE
    # also where Infisical's clock is so far behind that the rotation seems to be earlier than the moment
    assert {verdict(moment), verdict(NOW), verdict(moment - timedelta(minutes=2))} == {Verdict.SKIP}


def test_a_rotation_that_deletes_a_key_in_use_needs_consent() -> None:
    keys = UserKey(OTHER, NOW - 2 * WEEK), UserKey(LEAKED, NOW - WEEK)
    in_use = facts(*keys, of=rotation(), used={OTHER: NOW - HOUR})

    step = plan(in_use, frozenset())

    assert (step.act, step.needs) == (Act.STOP, (Consent.ROTATE, Consent.DEACTIVATE))
    assert f"deletes the previous key {OTHER} for good. It was used at 2026-11-22T04:00:00.000Z" in step.text
    assert plan(in_use, frozenset({Consent.ROTATE})).act is Act.ROTATE
    assert plan(in_use, TYPED).act is Act.DEACTIVATE
    assert plan(inactive(in_use), TYPED).needs == (Consent.ROTATE,)
    silent = replace(in_use, uses={OTHER: LastUse(NOW - GRACE_PERIOD, "s3", "eu-central-1")})
    assert plan(silent, frozenset()).act is Act.ROTATE


@pytest.mark.parametrize(
    ("state", "status", "says"),
    [
        (previous(), Status.DONE, "The next rotation deletes the inactive key"),
        (
            orphan(),
            Status.DONE,
            f"Once nothing misses it: aws iam delete-access-key --user-name {USER} --access-key-id",
        ),
        (previous(other_active=False), Status.UNFINISHED, f"so is the published key {OTHER}"),
        (unclear(), Status.UNFINISHED, "see in Infisical which key payments has"),
        (OUT_OF_REACH, Status.UNFINISHED, "Unreachable"),
        (published_alone(refusal="Infisical is down"), Status.UNFINISHED, "Infisical is down"),
    ],
)
def test_an_inactive_key_is_reported_with_what_is_left_to_do(state: Facts, status: Status, says: str) -> None:
    step = plan(inactive(state), TYPED)

    assert (step.act, step.status, step.needs) == (Act.STOP, status, ())
    assert LEAKED in step.text
    assert says in step.text


def test_a_deleted_key_is_the_end() -> None:
    assert plan(facts(UserKey(OTHER, NOW - WEEK), of=rotation()), frozenset()).status is Status.DONE


def test_a_second_key_that_a_thief_made_is_named() -> None:
    keys = UserKey(LEAKED, NOW - WEEK), UserKey(OTHER, NOW - DAY)

    said = " ".join(describe_kind(facts(*keys, of=rotation())))

    assert "the published key" in said
    assert f"a second key that Infisical does not know: {OTHER}, created at 2026-11-21T05:00:00.000Z, active" in said
    assert f"aws iam delete-access-key --user-name {USER} --access-key-id {OTHER}" in said
    assert "the published key has leaked too" in " ".join(describe_kind(orphan()))


# ---- killed anywhere, and run again ----------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@dataclass
class World:
    """IAM, Infisical and the deployed stack, which decides as the functions do. The user's truth is `published`.

    A request is worked `delay` after it was sent. `lives` are the numbers of effects after which a run is killed.
    """

    clock: VirtualClock
    keys: dict[str, UserKey]
    published: str
    last_rotated_at: datetime
    uses: dict[str, datetime]
    delay: timedelta = timedelta(seconds=3)
    is_down: bool = False
    lives: list[int] = field(default_factory=list)
    requests: list[tuple[datetime, RotationRequest]] = field(default_factory=list)
    rotations: int = 0
    effects_left: int = 1_000
    said: list[str] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return from_epoch(self.clock.time())

    @property
    def is_served(self) -> bool:
        """Whether consumers that read their secret get a key that works."""
        return self.published in self.keys and self.keys[self.published].active

    @property
    def is_accepted(self) -> bool:
        """Whether AWS accepts any key of the user."""
        return any(key.active for key in self.keys.values())

    def look(self) -> Facts:
        self._work()
        made = Rotation(rotation_id(1), "payments", "weekly", self.last_rotated_at, GRACE_PERIOD)
        asked = self._request(min(made.moment, self.now))
        verdict, reason = self._decide(asked)
        refusal = "" if verdict is Verdict.ROTATE else reason
        user = UserKeys(tuple(self.keys.values()))
        uses = {key_id: LastUse(at, "s3", "eu-central-1") for key_id, at in self.uses.items() if key_id in self.keys}
        return Facts(self.now, LEAKED, USER, user, uses, replace(made, refusal=refusal))

    def request_rotation(self, rotation: Rotation) -> str:
        self._live()
        if self.is_down:
            return "The rotation was not requested"
        self.requests.append((self.now + self.delay, self._request(rotation.moment)))
        self._live()
        return ""

    def deactivate(self, user_name: str, key_id: str) -> None:
        assert user_name == USER
        self._live()
        self.keys[key_id] = replace(self.keys[key_id], active=False)
        self._live()

    def run(self, consents: frozenset[Consent] = frozenset()) -> Status | None:
        """Run the command; None where it was killed."""
        response = Response(self, self.deactivate, self.said.append, lambda *_: False, self, consents)
        self.effects_left = self.lives.pop(0) if self.lives else 1_000
        try:
            return response.respond()
        except Killed:
            return None

    def time(self) -> float:
        return self.clock.time()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        self._live()
        self.clock.sleep(seconds)

    def _live(self) -> None:
        self.effects_left -= 1
        if self.effects_left < 0:
            raise Killed

    def _request(self, moment: datetime) -> RotationRequest:
        return RotationRequest(MappedRotation(rotation_id(1)), "weekly", moment, "id", forced=True)

    def _decide(self, request: RotationRequest) -> tuple[Verdict, str]:
        state = RotationState(
            request.rotation.id, "payments", "success", self.last_rotated_at, self.last_rotated_at, None, user_name=USER
        )
        decision = check_due(state, request, timedelta())
        if decision.verdict is Verdict.ROTATE:
            user = UserKeys(tuple(self.keys.values()))
            decision = check_keys(state, request, user, GRACE_PERIOD, self.now)
        return decision.verdict, decision.reason

    def _work(self) -> None:
        due = [request for at, request in self.requests if at <= self.now]
        self.requests = [each for each in self.requests if each[0] > self.now]
        for request in due:
            if self._decide(request)[0] is Verdict.ROTATE:
                self._rotate()

    def _rotate(self) -> None:
        if len(self.keys) > 1:
            del self.keys[UserKeys(tuple(self.keys.values())).oldest.id]
        self.rotations += 1
        self.published = f"AKIANEW{self.rotations}"
        self.keys[self.published] = UserKey(self.published, self.now)
        self.last_rotated_at = self.now


STATES: dict[str, Callable[[], Facts]] = {
    "published": published_alone,
    "published, with a silent previous key": lambda: facts(
        UserKey(OTHER, NOW - 2 * WEEK), UserKey(LEAKED, NOW - WEEK), of=rotation()
    ),
    "published, and rotated just now": lambda: facts(UserKey(LEAKED, NOW), of=rotation(NOW)),
    "published, with a key of a thief": lambda: facts(
        UserKey(LEAKED, NOW - WEEK), UserKey(OTHER, NOW - DAY), of=rotation()
    ),
    "published and inactive": lambda: inactive(published_alone()),
    "previous": previous,
    "previous, used all the time": lambda: previous(used=timedelta()),
    "previous, of a rotation just now": lambda: previous(rotated=HOUR),
    "previous, beside an inactive published key": lambda: previous(other_active=False),
    "orphan": orphan,
    "young orphan": lambda: orphan(age=HOUR / 10),
    "orphan, inactive": lambda: inactive(orphan()),
}


def world_of(state: Facts, lives: list[int], delay: timedelta = timedelta(seconds=3)) -> World:
    assert state.rotation is not None
    published = next((key.id for key in state.user.keys if state.kind_of(key.id) is Kind.PUBLISHED), OTHER)
    return World(
        VirtualClock(),
        {key.id: key for key in state.user.keys},
        published,
        state.rotation.last_rotated_at,
        {key_id: use.at for key_id, use in state.uses.items()},
        delay,
        lives=list(lives),
    )


@given(
    name=st.sampled_from(sorted(STATES)),
    lives=st.lists(st.integers(0, 6), max_size=6),
    delay=st.sampled_from([timedelta(seconds=1), timedelta(minutes=3), timedelta(minutes=18)]),
    pauses=st.lists(st.sampled_from([timedelta(), timedelta(minutes=4), HOUR]), min_size=6, max_size=6),
)
def test_a_run_that_is_killed_anywhere_and_run_again_ends_well(
    name: str, lives: list[int], delay: timedelta, pauses: list[timedelta]
) -> None:
    world = world_of(STATES[name](), lives, delay)
    was_served, was_accepted = world.is_served, world.is_accepted
    statuses = []

    for pause in pauses + [8 * HOUR] * 6:
        statuses.append(world.run())
        # nobody has typed anything: consumers are served as well as before, and AWS accepts one of the user's keys
        assert world.is_served or not was_served
        assert world.is_accepted or not was_accepted
        world.clock.sleep(pause.total_seconds())
        # a person does what the text says
        if name == "published, with a key of a thief" and statuses[-1] is not None:
            world.keys.pop(OTHER, None)
        if name == "previous, beside an inactive published key" and statuses[-1] is not None:
            world.keys[OTHER] = replace(world.keys[OTHER], active=True)

    assert statuses[-1] is Status.DONE, world.said
    assert not world.keys[LEAKED].active
    assert world.is_served
    assert world.published != LEAKED
    assert world.rotations == name.startswith("published")


@given(name=st.sampled_from(sorted(STATES)), lives=st.lists(st.integers(0, 6), max_size=3), is_down=st.booleans())
def test_a_typed_name_always_makes_the_leaked_key_inactive(name: str, lives: list[int], is_down: bool) -> None:  # noqa: FBT001
    world = world_of(STATES[name](), lives)
    world.is_down = is_down

    for _ in [*lives, None]:
        world.run(TYPED)

    assert not world.keys[LEAKED].active


def test_a_rotation_that_is_not_made_in_time_is_reported_and_not_requested_again() -> None:
    world = world_of(published_alone(), [], delay=DAY)

    status = world.run()

    assert status is Status.UNFINISHED
    assert NOT_CONFIRMED.rstrip(".") in world.said[-1]
    assert len(world.requests) == 1
    assert timedelta() <= world.now - NOW - timedelta(seconds=ROTATION_SECONDS) <= timedelta(seconds=5)


def test_a_person_is_asked_for_each_consent_until_one_is_given() -> None:
    world = world_of(facts(UserKey(OTHER, NOW - 2 * WEEK), UserKey(LEAKED, NOW - WEEK), of=rotation()), [])
    world.uses[OTHER] = NOW
    asked = []

    def ask(consent: Consent, _: Facts) -> bool:
        asked.append(consent)
        return consent is Consent.DEACTIVATE

    status = Response(world, world.deactivate, world.said.append, ask, world).respond()

    assert asked == [Consent.ROTATE, Consent.DEACTIVATE, Consent.ROTATE]
    assert status is Status.UNFINISHED
    assert not world.keys[LEAKED].active


# ---- the questions ---------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("consent", "given", "typed"),
    [
        (Consent.DEACTIVATE, [True, False, False], [f"{USER}\n", "y\n", "\n"]),
        (Consent.ROTATE, [True, False, False], ["y\n", "n\n", "\n"]),
    ],
)
def test_only_the_users_name_allows_to_deactivate(
    monkeypatch: pytest.MonkeyPatch, consent: Consent, given: list[bool], typed: list[str]
) -> None:
    answers = []
    for text in typed:
        monkeypatch.setattr(sys, "stdin", Terminal(text))
        answers.append(ask(consent, published_alone()))

    assert answers == given


@pytest.mark.parametrize(("consent", "option"), [(Consent.DEACTIVATE, f"--now {USER}"), (Consent.ROTATE, "--yes")])
def test_nobody_is_asked_in_a_pipe_and_the_option_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], consent: Consent, option: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{USER}\ny\n"))

    assert not ask(consent, published_alone())
    assert option in capsys.readouterr().out
