import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from threading import Barrier
from typing import Any

import httpx
import pytest

from rotator.infisical import Infisical
from rotator.model import GuardOptions, MappedRotation, RotationRequest, RotationState
from rotator.policy import Decision, Verdict, decide
from rotator.preview import preview
from rotator.selection import Selected
from rotator.states import CONCURRENT_READS, read_states
from tests.unit.fakes import NOW, FakeInfisical, described, rotation_id

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
# Nobody waits for as long unless the test fails.
PATIENCE_SECONDS = 10


def previews(
    infisical: Infisical,
    requests: Sequence[RotationRequest],
    states: Sequence[RotationState | None],
    interval: timedelta,
) -> list[dict[str, Any]]:
    """A dry run as `dispatch` does it: what is not known is read."""
    selected = [Selected(each.rotation, known) for each, known in zip(requests, states, strict=True)]
    read = read_states(infisical, selected)
    decide_as_due = partial(decide, minimum_interval=interval)
    return [preview(each, state, decide_as_due) for each, state in zip(requests, read, strict=True)]


def request(
    number: int, *, forced: bool = False, interval: timedelta | None = None, guard: GuardOptions | None = None
) -> RotationRequest:
    rotation = MappedRotation(rotation_id(number), minimum_interval=interval, guard=guard)
    return RotationRequest(rotation, "weekly", NOW, "c", forced)


def state(number: int, *, rotated_at: timedelta = -7 * DAY, status: str = "success") -> RotationState:
    return RotationState(rotation_id(number), f"rotation-{number}", status, NOW + rotated_at, NOW, "no such luck")


def of_known(wish: RotationRequest, known: RotationState) -> dict[str, Any]:
    (report,) = previews(FakeInfisical().client, [wish], [known], HOUR)
    return report


# ---- what is reported ------------------------------------------------------------------------------------------------


def test_a_report_says_which_rotation_what_would_happen_and_why() -> None:
    assert of_known(request(1), state(1)) == {
        "rotation_id": rotation_id(1),
        "rotation_type": "aws-iam-user-secret",
        "rotation_name": "rotation-1",
        "last_rotated_at": "2026-11-15T05:00:00.000Z",
        "decision": "rotate",
        "reason": "Due",
        "explanation": "",
        "key_guard": False,
    }


def orphan_key(_: RotationState, __: RotationRequest) -> Decision:
    return Decision(Verdict.REFUSE, "OrphanKey", "AKIAORPHAN may be nobody's")


def test_what_the_key_guard_refuses_is_reported_with_its_reason() -> None:
    report = preview(request(1, guard=GuardOptions()), state(1), orphan_key)

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
        (MappedRotation(rotation_id(1), guard=None), False),
        (MappedRotation(rotation_id(1), "mysql-credentials"), False),
    ],
    ids=["guarded", "switched off", "another type"],
)
def test_a_report_says_whether_the_key_guard_has_looked(rotation: MappedRotation, guarded: bool) -> None:  # noqa: FBT001 - a parameter
    report = preview(RotationRequest(rotation, "weekly", NOW, "c"), state(1), partial(decide, minimum_interval=HOUR))

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

    taken = decide(known, request(1), HOUR)
    assert (report["decision"], report["reason"]) == (decision, reason) == (taken.verdict.value, taken.reason)
    assert report["explanation"] == taken.explanation


def test_what_would_be_forced_is_decided_as_forced() -> None:
    failed = state(1, rotated_at=-HOUR, status="failed")

    assert [of_known(request(1, forced=force), failed)["decision"] for force in (False, True)] == ["skip", "rotate"]


def test_the_interval_of_the_map_counts_before_the_stacks() -> None:
    assert of_known(request(1, interval=8 * DAY), state(1))["reason"] == "TooSoon"


def test_a_report_is_json_as_it_is() -> None:
    report = of_known(request(1), state(1))

    assert json.loads(json.dumps(report)) == report


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


def test_nothing_is_previewed_as_nothing() -> None:
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
            lambda _: httpx.Response(404, json={"error": "NotFound", "message": "no such rotation"}),
            "NotFound",
            "no such rotation",
        ),
        (
            lambda _: httpx.Response(403, json={"error": "PermissionDenied", "message": "you may not"}),
            "PermissionDenied",
            "you may not",
        ),
        (lambda _: httpx.Response(503, text="<html>"), "Uncertain", "503"),
        (lambda _: httpx.Response(200, json={}), "InvalidAnswer", "secretRotation"),
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
    assert "again in 30 seconds" in reports[0]["explanation"]


def test_a_mistake_of_ours_is_no_rotation_that_cannot_be_read() -> None:
    def mistake(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        previews(FakeInfisical(disturb=mistake).client, [request(1)], [None], HOUR)


def test_a_preview_never_rotates() -> None:
    infisical = FakeInfisical(*(described(number) for number in range(5)))

    previews(infisical.client, [request(number, forced=True) for number in range(5)], [None] * 5, HOUR)

    assert {sent.method for sent in infisical.requests} == {"GET"}
