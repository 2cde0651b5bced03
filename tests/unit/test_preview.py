import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import httpx
import pytest

from rotator.dry_run.rotations import Preview
from rotator.infisical.client import Infisical
from rotator.model import GuardOptions, MappedRotation, RotationOptions, RotationState
from rotator.rotation.policy import CLOCK_MARGIN, Decider, Decision, Verdict, check_due
from rotator.rotation.request import RotationRequest
from rotator.triggers.selection import CONCURRENT_READS, SelectedRotation, read_rotation_states
from tests.unit.fakes import NOW, FakeInfisical, described, rotation_id

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
GRACE_PERIOD = timedelta(hours=6)
# Nobody waits for as long unless the test fails.
PATIENCE_SECONDS = 10


def previews(
    infisical: Infisical,
    requests: Sequence[RotationRequest],
    states: Sequence[RotationState | None],
    interval: timedelta,
) -> list[Mapping[str, Any]]:
    """A dry run as `dispatch` does it: what is not known is read."""
    selected = [SelectedRotation(each.rotation, known) for each, known in zip(requests, states, strict=True)]
    read = read_rotation_states(infisical, selected)
    preview = due_after(interval)
    return [preview(request, state) for request, state in zip(requests, read, strict=True)]


def due_after(interval: timedelta, ask: Decider | None = None) -> Preview:
    """Without `ask`, nobody looks at keys."""
    return Preview(ask or partial(check_due, minimum_interval=interval), interval, GRACE_PERIOD)


def request(
    number: int, *, forced: bool = False, interval: timedelta | None = None, guard: GuardOptions | None = None
) -> RotationRequest:
    rotation = MappedRotation(rotation_id(number), options=RotationOptions(minimum_interval=interval, guard=guard))
    return RotationRequest(rotation, "weekly", NOW, "c", forced)


def state(number: int, *, rotated_at: timedelta = -7 * DAY, status: str = "success") -> RotationState:
    return RotationState(
        id=rotation_id(number),
        name=f"rotation-{number}",
        status=status,
        last_rotated_at=NOW + rotated_at,
        last_attempted_at=NOW,
        last_message="no such luck",
        auto_rotation=True,
        user_name="deployer",
        connection_id="c1",
    )


def of_known(wish: RotationRequest, known: RotationState) -> Mapping[str, Any]:
    (report,) = previews(FakeInfisical().client, [wish], [known], HOUR)
    return report


# ---- what is reported ------------------------------------------------------------------------------------------------


def test_a_report_says_which_rotation_what_would_happen_and_why() -> None:
    assert of_known(request(1), state(1)) == {
        "rotation_id": rotation_id(1),
        "rotation_type": "aws-iam-user-secret",
        "rotation_name": "rotation-1",
        "user_name": "deployer",
        "connection_id": "c1",
        "auto_rotation": True,
        "last_rotated_at": "2026-11-15T05:00:00.000Z",
        "decision": "rotate",
        "reason": "Due",
        "explanation": "",
        "minimum_interval_seconds": 3600,
        "maximum_age_seconds": None,
        "key_guard": False,
    }


def orphan_key(_: RotationState, __: RotationRequest) -> Decision:
    return Decision(Verdict.REFUSE, "OrphanKey", "AKIAORPHAN may be nobody's")


def test_a_refusal_by_the_key_guard_is_previewed_with_its_reason() -> None:
    report = due_after(HOUR, orphan_key)(request(1, guard=GuardOptions()), state(1))

    assert (
        report.items()
        >= {
            "decision": "refuse",
            "reason": "OrphanKey",
            "explanation": "AKIAORPHAN may be nobody's",
        }.items()
    )


@pytest.mark.parametrize(
    ("rotation", "guarded"),
    [
        (MappedRotation(rotation_id(1)), True),
        (MappedRotation(rotation_id(1), options=RotationOptions(guard=None)), False),
        (MappedRotation(rotation_id(1), "mysql-credentials"), False),
    ],
    ids=["guarded", "switched off", "another type"],
)
def test_a_report_says_whether_the_key_guard_has_looked(rotation: MappedRotation, guarded: bool) -> None:  # noqa: FBT001 - a parameter
    report: Mapping[str, Any] = due_after(HOUR)(RotationRequest(rotation, "weekly", NOW, "c"), state(1))

    assert report["key_guard"] is guarded


@pytest.mark.parametrize(
    ("known", "decision", "reason"),
    [
        (state(1), "rotate", "Due"),
        (state(1, rotated_at=HOUR), "skip", "AlreadyRotated"),
        (state(1, rotated_at=-HOUR), "skip", "TooSoon"),
        (state(1, status="failed"), "refuse", "PreviousAttemptFailed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_decision_is_reported_as_rotate_would_take_it(known: RotationState, decision: str, reason: str) -> None:
    report = of_known(request(1), known)

    taken = check_due(known, request(1), HOUR)
    assert (report["decision"], report["reason"]) == (decision, reason) == (taken.verdict.value, taken.reason)
    assert report["explanation"] == taken.explanation


def test_a_forced_dry_run_is_decided_as_forced() -> None:
    failed = state(1, rotated_at=-HOUR, status="failed")

    assert [of_known(request(1, forced=force), failed)["decision"] for force in (False, True)] == ["skip", "rotate"]


def test_the_interval_of_the_map_counts_before_the_stacks() -> None:
    assert of_known(request(1, interval=8 * DAY), state(1))["reason"] == "TooSoon"


def test_a_report_is_json_as_it_is() -> None:
    report = of_known(request(1), state(1))

    assert json.loads(json.dumps(report)) == report


def of_rotation(known: RotationState = state(1), **fields: Any) -> Mapping[str, Any]:  # noqa: ANN401, B008 - a value
    """The report of what the map says of a rotation; no key guard has anything against it."""
    wish = RotationRequest(MappedRotation(rotation_id(1), options=RotationOptions(**fields)), "weekly", NOW, "c")
    return due_after(HOUR)(wish, known)


@pytest.mark.parametrize(
    ("own", "seconds"),
    [(None, 3600), (6 * DAY, 6 * 86_400), (timedelta(minutes=1), CLOCK_MARGIN.total_seconds())],
    ids=["the stack's", "the map's", "never less than five minutes"],
)
def test_a_report_says_the_interval_that_counts(own: timedelta | None, seconds: int) -> None:
    assert of_rotation(minimum_interval=own)["minimum_interval_seconds"] == seconds


@pytest.mark.parametrize(
    ("own", "seconds"), [(None, 6 * 3600), (2 * DAY, 2 * 86_400)], ids=["the stack's", "the map's"]
)
def test_a_report_says_the_grace_period_that_counts(own: timedelta | None, seconds: int) -> None:
    assert of_rotation(guard=GuardOptions(grace_period=own))["grace_period_seconds"] == seconds


def test_a_report_says_how_old_the_map_lets_a_rotation_become() -> None:
    assert of_rotation(maximum_age=8 * DAY)["maximum_age_seconds"] == 8 * 86_400


# ---- what the key guard says -----------------------------------------------------------------------------------------


def orphan_once_due(known: RotationState, wish: RotationRequest) -> Decision:
    """As the key guard decides: IAM is asked only where the rotation is due."""
    decision = check_due(known, wish, HOUR)
    return orphan_key(known, wish) if decision.verdict is Verdict.ROTATE else decision


@pytest.mark.parametrize(
    ("rotated_at", "forced"),
    [(HOUR, False), (-HOUR / 2, False), (-HOUR, False), (HOUR, True), (-CLOCK_MARGIN, True)],
    ids=["rotated since", "rotated shortly before", "only just", "forced, rotated since", "forced, only just"],
)
def test_a_coming_refusal_by_the_key_guard_is_previewed_before_it_is_due(
    rotated_at: timedelta,
    forced: bool,  # noqa: FBT001 - a parameter
) -> None:
    known = state(1, rotated_at=rotated_at)

    report = due_after(HOUR, orphan_once_due)(request(1, forced=forced, guard=GuardOptions()), known)

    assert report["decision"] == "skip"
    assert (report["key_guard_refusal"], report["key_guard_explanation"]) == (
        "OrphanKey",
        "AKIAORPHAN may be nobody's",
    )


@pytest.mark.parametrize("rotated_at", [HOUR, -7 * DAY], ids=["not due", "due"])
def test_keys_that_cannot_be_looked_at_now_are_not_called_in_order(rotated_at: timedelta) -> None:
    def wait(known: RotationState, wish: RotationRequest) -> Decision:
        decision = check_due(known, wish, HOUR)
        return Decision(Verdict.WAIT, "IamUnavailable", "w") if decision.verdict is Verdict.ROTATE else decision

    report = due_after(HOUR, wait)(request(1, guard=GuardOptions()), state(1, rotated_at=rotated_at))

    assert report["decision"] == ("skip" if rotated_at == HOUR else "wait")
    assert (report["key_guard_refusal"], report["key_guard_explanation"]) == ("IamUnavailable", "w")


def test_a_current_refusal_asks_the_key_guard_once() -> None:
    asked: list[RotationRequest] = []

    def ask(known: RotationState, wish: RotationRequest) -> Decision:
        asked.append(wish)
        return orphan_key(known, wish)

    report: Mapping[str, Any] = due_after(HOUR, ask)(request(1, guard=GuardOptions()), state(1))

    assert (report["reason"], report["key_guard_refusal"]) == ("OrphanKey", "OrphanKey")
    assert len(asked) == 1


@pytest.mark.parametrize("known", [state(1), state(1, rotated_at=HOUR)], ids=["due", "not due"])
def test_an_approval_by_the_key_guard_is_previewed_as_no_refusal(known: RotationState) -> None:
    report: Mapping[str, Any] = due_after(HOUR)(request(1, guard=GuardOptions()), known)

    assert (report["key_guard_refusal"], report["key_guard_explanation"]) == (None, "")


@pytest.mark.parametrize(
    "rotation",
    [
        MappedRotation(rotation_id(1), options=RotationOptions(guard=None)),
        MappedRotation(rotation_id(1), "mysql-credentials"),
    ],
    ids=["switched off", "another type"],
)
def test_a_disabled_key_guard_is_not_asked(rotation: MappedRotation) -> None:
    asked: list[RotationRequest] = []

    def ask(known: RotationState, wish: RotationRequest) -> Decision:
        asked.append(wish)
        return check_due(known, wish, HOUR)

    report = due_after(HOUR, ask)(RotationRequest(rotation, "weekly", NOW, "c"), state(1, rotated_at=HOUR))

    assert len(asked) == 1
    assert "key_guard_refusal" not in report


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_a_state_that_is_known_is_not_read() -> None:
    infisical = FakeInfisical()

    previews(infisical.client, [request(1)], [state(1)], HOUR)

    assert infisical.requests == []


def test_a_state_that_is_not_known_is_read_by_its_type_and_id() -> None:
    infisical = FakeInfisical(described(1, type="mysql-credentials", lastRotatedAt="2026-11-22T05:00:00Z"))
    wish = RotationRequest(MappedRotation(rotation_id(1), "mysql-credentials"), "weekly", NOW, "c")

    (report,) = previews(infisical.client, [wish], [None], HOUR)

    assert infisical.asked == [f"GET mysql-credentials/{rotation_id(1)}"]
    assert (report["rotation_type"], report["rotation_name"], report["reason"]) == (
        "mysql-credentials",
        "rotation-1",
        "AlreadyRotated",
    )


def test_reports_come_in_the_order_of_the_requests_however_they_are_known() -> None:
    infisical = FakeInfisical(*(described(number) for number in range(25)))
    requests = [request(number) for number in range(25)]
    states = [state(number) if number % 3 else None for number in range(25)]

    reports = previews(infisical.client, requests, states, HOUR)

    assert [report["rotation_id"] for report in reports] == [rotation_id(number) for number in range(25)]


def test_ten_rotations_are_read_at_the_same_time() -> None:
    together = Barrier(CONCURRENT_READS)

    def wait_for_the_others(_: httpx.Request) -> None:
        together.wait(PATIENCE_SECONDS)  # raises unless all ten are here at once

    infisical = FakeInfisical(*(described(number) for number in range(10)), disturb=wait_for_the_others)

    reports = previews(infisical.client, [request(number) for number in range(10)], [None] * 10, HOUR)

    assert {report["decision"] for report in reports} == {"rotate"}


def test_an_empty_selection_is_previewed_as_empty() -> None:
    assert previews(FakeInfisical().client, [], [], HOUR) == []


# ---- what cannot be read ---------------------------------------------------------------------------------------------


def refused_connection(sent: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody listens", request=sent)


def dropped(sent: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("Server disconnected", request=sent)


@pytest.mark.parametrize(
    ("answer", "reason", "explanation"),
    [
        (
            lambda _: httpx.Response(404, json={"statusCode": 404, "error": "NotFound", "message": "no such rotation"}),
            "NotFound",
            "no such rotation",
        ),
        (
            lambda _: httpx.Response(
                403, json={"statusCode": 403, "error": "PermissionDenied", "message": "you may not"}
            ),
            "PermissionDenied",
            "you may not",
        ),
        (lambda _: httpx.Response(503, text="<html>"), "ForeignAnswer", "503"),
        (lambda _: httpx.Response(200, json={}), "ForeignAnswer", "did not come from Infisical"),
        (refused_connection, "Unreachable", "nobody listens"),
        (dropped, "Uncertain", "Server disconnected"),
    ],
    ids=["unknown", "denied", "failing", "senseless", "unreachable", "dropped"],
)
def test_a_rotation_that_cannot_be_read_is_reported_so_and_stops_no_other(
    answer: Any,  # noqa: ANN401 - a lambda has no types of its own
    reason: str,
    explanation: str,
) -> None:
    def disturb(sent: httpx.Request) -> httpx.Response | None:
        disturbed: httpx.Response | None = answer(sent) if sent.url.path.endswith(rotation_id(1)) else None
        return disturbed

    infisical = FakeInfisical(described(2), disturb=disturb)

    unreadable, known, readable = previews(
        infisical.client, [request(1), request(3), request(2)], [None, state(3), None], HOUR
    )

    assert {name: unreadable[name] for name in ("rotation_id", "rotation_type", "decision", "reason")} == {
        "rotation_id": rotation_id(1),
        "rotation_type": "aws-iam-user-secret",
        "decision": "unreadable",
        "reason": reason,
    }
    assert explanation in unreadable["explanation"]
    assert (known["decision"], readable["decision"]) == ("rotate", "rotate")


def test_behind_a_rate_limit_every_rotation_that_is_not_known_says_so() -> None:
    limited = httpx.Response(429, headers={"retry-after": "30"}, json={})
    infisical = FakeInfisical(disturb=lambda _: limited)

    reports = previews(
        infisical.client, [request(1), request(2), request(3)], [None, state(2, rotated_at=HOUR), None], HOUR
    )

    assert [report["reason"] for report in reports] == ["RateLimited", "AlreadyRotated", "RateLimited"]
    assert "retry in 30 seconds" in reports[0]["explanation"]


def test_a_bug_is_not_reported_as_an_unreadable_rotation() -> None:
    def mistake(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        previews(FakeInfisical(disturb=mistake).client, [request(1)], [None], HOUR)


def test_a_preview_never_rotates() -> None:
    infisical = FakeInfisical(*(described(number) for number in range(5)))

    previews(infisical.client, [request(number, forced=True) for number in range(5)], [None] * 5, HOUR)

    assert {sent.method for sent in infisical.requests} == {"GET"}
