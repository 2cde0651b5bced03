import json
from collections.abc import Callable
from dataclasses import replace
from threading import Barrier
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.infisical.errors import ForeignAnswerError, RejectedError
from rotator.model import DEFAULT_TYPE, RotationState
from rotator.rotation.policy import Decision, Verdict
from rotator.rotation.queues import UndeliveredRequestsError
from rotator.rotation.request import RotationRequest
from rotator.triggers.events import UnsupportedEventError
from rotator.triggers.rotation_map import RotationMapError, UnmappedTriggerError
from rotator.triggers.selection import EmptySelectionError, UnmappedRotationError
from tests.unit.fakes import FakeInfisical, described, rotation_id
from tests.unit.stages import MAP, DispatchStage

# Nobody waits for as long unless the test fails.
PATIENCE_SECONDS = 10
A, B, C, D, E = (rotation_id(number) for number in (0xA, 0xB, 0xC, 0xD, 0xE))
SCHEDULED = {"trigger": "weekly", "scheduledTime": "2026-11-22T04:00:00Z"}


# ---- dispatched ------------------------------------------------------------------------------------------------------


def test_a_trigger_becomes_one_request_for_each_of_its_rotations() -> None:
    stage = DispatchStage()

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.requested == [A, B]


def test_a_request_carries_all_that_rotate_has_to_know() -> None:
    stage = DispatchStage()

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.sqs.bodies[1] == {
        "rotationId": B,
        "type": "mysql-credentials",
        "trigger": "weekly",
        "occurredAt": "2026-11-22T04:00:00.000Z",
        "correlationId": "correlation",
        "minimumIntervalSeconds": 518_400,
    }


def test_a_direct_invocation_occurs_now() -> None:
    stage = DispatchStage()

    stage.dispatch.handle({"trigger": "daily"}, "correlation")

    assert stage.sqs.bodies[0]["occurredAt"] == "2026-11-22T05:00:00.000Z"


def deduplicated(stage: DispatchStage, event: object, *correlation_ids: str) -> bool:
    """Whether SQS takes the requests of these invocations for one."""
    for correlation_id in correlation_ids:
        stage.dispatch.handle(event, correlation_id)
    first, *others = ([entry["MessageDeduplicationId"] for entry in batch] for batch in stage.sqs.batches)
    return all(other == first for other in others)


@pytest.mark.parametrize(
    "event", [SCHEDULED, {"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", "force": True}]
)
def test_a_retry_of_lambda_is_the_same_request(event: object) -> None:
    assert deduplicated(DispatchStage(), event, "correlation", "correlation")


def test_an_event_that_is_delivered_twice_is_the_same_request() -> None:
    assert deduplicated(DispatchStage(), SCHEDULED, "correlation", "another")


@pytest.mark.parametrize("more", [{}, {"force": True}], ids=["", "forced"])
def test_a_repeated_direct_invocation_is_not_deduplicated(more: dict[str, bool]) -> None:
    """What stood in the way of the first request may be cured within SQS's five minutes."""
    event = {"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", **more}

    assert not deduplicated(DispatchStage(), event, "correlation", "another")


def test_dispatch_answers_with_what_was_sent() -> None:
    assert DispatchStage().dispatch.handle(SCHEDULED, "correlation") == {
        "trigger": "weekly",
        "occurred_at": "2026-11-22T04:00:00.000Z",
        "requests": 2,
        "correlation_id": "correlation",
    }


def test_the_log_says_the_same_as_the_answer() -> None:
    stage = DispatchStage()

    summary = stage.dispatch.handle(SCHEDULED, "correlation")

    (line,) = stage.observed.logs
    assert line.items() >= {"level": "INFO", "message": "trigger dispatched", **summary}.items()


def test_a_dispatched_trigger_is_no_unmapped_one() -> None:
    stage = DispatchStage()

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.observed.counted == []


def test_a_changed_map_counts_from_the_next_event_on() -> None:
    stage = DispatchStage()
    stage.dispatch.handle(SCHEDULED, "first")

    stage.text = json.dumps({"triggers": {"weekly": C}})
    stage.dispatch.handle(SCHEDULED, "second")

    assert stage.requested == [A, B, C]


def test_ids_in_the_map_are_sent_without_asking_infisical() -> None:
    stage = DispatchStage()

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.infisical.asked == []


# ---- selectors -------------------------------------------------------------------------------------------------------

SELECTOR = {"project": "payments", "type": "mysql-credentials", "minimumInterval": "2 hours"}


def of_type(rotation_type: str, *numbers: int) -> list[dict[str, Any]]:
    return [described(number, type=rotation_type) for number in numbers]


def test_a_selector_becomes_one_request_for_each_rotation_that_infisical_lists() -> None:
    infisical = FakeInfisical(*of_type("mysql-credentials", 0xC, 0xA), *of_type(DEFAULT_TYPE, 0xB))
    stage = DispatchStage(triggers={"weekly": SELECTOR}, infisical=infisical)

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.requested == [C, A]


def test_the_request_of_a_selected_rotation_says_what_its_selector_says() -> None:
    stage = DispatchStage(triggers={"weekly": SELECTOR}, infisical=FakeInfisical(*of_type("mysql-credentials", 0xA)))

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.sqs.bodies == [
        {
            "rotationId": A,
            "type": "mysql-credentials",
            "trigger": "weekly",
            "occurredAt": "2026-11-22T04:00:00.000Z",
            "correlationId": "correlation",
            "minimumIntervalSeconds": 7200,
        }
    ]


GUARD_ROLE = "arn:aws:iam::123456789012:role/key-guard"
KEY_GUARDS = pytest.mark.parametrize(
    ("key_guard", "sent"),
    [
        (False, False),
        ({"role": GUARD_ROLE}, {"role": GUARD_ROLE, "gracePeriodSeconds": None}),
        ({"role": GUARD_ROLE, "gracePeriod": "2 days"}, {"role": GUARD_ROLE, "gracePeriodSeconds": 172_800}),
    ],
    ids=["switched off", "role", "role and grace period"],
)


@KEY_GUARDS
def test_a_request_says_how_the_key_guard_looks(key_guard: object, sent: object) -> None:
    stage = DispatchStage(triggers={"weekly": [A, {"id": B, "keyGuard": key_guard}]})

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert [body.get("keyGuard") for body in stage.sqs.bodies] == [None, sent]


@KEY_GUARDS
def test_a_selectors_key_guard_options_go_into_each_request(key_guard: object, sent: object) -> None:
    selector = {"project": "payments", "keyGuard": key_guard}
    stage = DispatchStage(triggers={"weekly": selector}, infisical=FakeInfisical(described(0xA), described(0xB)))

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert [(body["rotationId"], body["keyGuard"]) for body in stage.sqs.bodies] == [(A, sent), (B, sent)]


def test_a_selector_costs_one_call_which_may_take_its_time() -> None:
    infisical = FakeInfisical(*of_type(DEFAULT_TYPE, *range(25)))
    stage = DispatchStage(triggers={"weekly": {"project": "payments"}}, infisical=infisical)

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert infisical.asked == [f"GET {DEFAULT_TYPE}?projectId=payments"]
    assert infisical.requests[0].extensions["timeout"].get("read") == 45
    assert len(stage.requested) == 25


def test_a_rotation_that_is_added_in_infisical_counts_from_the_next_event_on() -> None:
    stage = DispatchStage(triggers={"weekly": {"project": "payments"}}, infisical=FakeInfisical(described(0xA)))
    stage.dispatch.handle(SCHEDULED, "first")

    stage.infisical.rotations.append(described(0xB))
    stage.dispatch.handle(SCHEDULED, "second")

    assert stage.requested == [A, A, B]


# ---- direct invocations ----------------------------------------------------------------------------------------------


def test_an_operator_may_choose_among_the_triggers_rotations() -> None:
    stage = DispatchStage()

    summary = stage.dispatch.handle({"trigger": "weekly", "only": [B]}, "correlation")

    assert (stage.requested, summary["requests"]) == ([B], 1)


@pytest.mark.parametrize("force", [True, False])
def test_only_a_forced_invocation_is_sent_as_forced(force: bool) -> None:  # noqa: FBT001 - a parameter
    stage = DispatchStage()

    stage.dispatch.handle({"trigger": "weekly", "occurredAt": "2026-11-22T04:00:00Z", "force": force}, "correlation")

    assert [body.get("forced", False) for body in stage.sqs.bodies] == [force, force]


def test_an_operator_may_set_the_occurrence_time() -> None:
    stage = DispatchStage()

    stage.dispatch.handle({"trigger": "daily", "occurredAt": "2026-11-22T03:00:00Z"}, "correlation")

    assert stage.sqs.bodies[0]["occurredAt"] == "2026-11-22T03:00:00.000Z"


# ---- dry runs --------------------------------------------------------------------------------------------------------

DRY_RUN = {"trigger": "weekly", "dryRun": True}
EVERY_KIND = [A, {"id": B, "type": "mysql-credentials", "minimumInterval": "8 days"}, {"project": "payments"}]


def every_kind(**options: Any) -> DispatchStage:  # noqa: ANN401 - as Stage takes them
    rotations = [described(0xA), described(0xB, type="mysql-credentials"), described(0xC), described(0xD)]
    infisical = FakeInfisical(*rotations, **options)
    return DispatchStage(triggers={"weekly": EVERY_KIND}, infisical=infisical)


def test_a_dry_run_sends_nothing_and_only_reads() -> None:
    stage = every_kind()

    stage.dispatch.handle(DRY_RUN, "correlation")

    assert stage.sqs.batches == []
    assert {request.method for request in stage.infisical.requests} == {"GET"}


def test_a_dry_run_answers_with_what_would_be_decided_for_every_kind_of_entry() -> None:
    stage = every_kind()

    answer = stage.dispatch.handle(DRY_RUN, "correlation")

    rotations = answer.pop("rotations")
    assert answer == {
        "trigger": "weekly",
        "occurred_at": "2026-11-22T05:00:00.000Z",
        "correlation_id": "correlation",
        "dry_run": True,
    }
    assert [(each["rotation_id"], each["decision"], each["reason"]) for each in rotations] == [
        (A, "rotate", "Due"),
        (B, "skip", "TooSoon"),
        (C, "rotate", "Due"),
        (D, "rotate", "Due"),
    ]


def test_a_dry_run_may_bring_the_map_that_counts() -> None:
    stage = every_kind()

    answer = stage.dispatch.handle({**DRY_RUN, "map": json.dumps({"triggers": {"weekly": C}})}, "correlation")

    assert [each["rotation_id"] for each in answer["rotations"]] == [C]
    assert stage.sqs.batches == []


def test_a_dry_run_is_an_answer_that_lambda_can_write() -> None:
    answer = every_kind().dispatch.handle(DRY_RUN, "correlation")

    assert json.loads(json.dumps(answer)) == answer


def test_a_dry_run_does_not_read_again_what_was_listed() -> None:
    stage = every_kind()

    stage.dispatch.handle(DRY_RUN, "correlation")

    read_alone = {f"GET {DEFAULT_TYPE}/{A}", f"GET mysql-credentials/{B}"}
    assert set(stage.infisical.asked) == {f"GET {DEFAULT_TYPE}?projectId=payments"} | read_alone
    assert len(stage.infisical.asked) == 3


def test_a_dry_run_is_logged_as_one() -> None:
    stage = every_kind()

    stage.dispatch.handle(DRY_RUN, "correlation")

    (line,) = stage.observed.logs
    expected = {"level": "INFO", "message": "trigger previewed", "trigger": "weekly", "correlation_id": "correlation"}
    assert line.items() >= expected.items()


def test_a_dry_run_of_what_would_be_forced_decides_as_forced() -> None:
    event = {**DRY_RUN, "only": [B], "occurredAt": "2026-11-22T04:00:00Z"}

    reasons = [
        every_kind().dispatch.handle({**event, "force": force}, "correlation")["rotations"][0]["reason"]
        for force in (False, True)
    ]

    assert reasons == ["TooSoon", "Due"]


def test_a_dry_run_counts_with_the_stacks_interval() -> None:
    infisical = FakeInfisical(described(0xC, lastRotatedAt="2026-11-22T04:00:01Z"))

    answer = DispatchStage(infisical=infisical).dispatch.handle({"trigger": "daily", "dryRun": True}, "correlation")

    assert [each["reason"] for each in answer["rotations"]] == ["TooSoon"]


def test_a_dry_run_reads_no_rotation_that_was_not_asked_for() -> None:
    stage = DispatchStage(infisical=FakeInfisical(described(0xA)))

    answer = stage.dispatch.handle({**DRY_RUN, "only": [A]}, "correlation")

    assert [each["rotation_id"] for each in answer["rotations"]] == [A]
    assert stage.infisical.asked == [f"GET {DEFAULT_TYPE}/{A}"]


def test_a_dry_run_shows_what_the_key_guard_refuses_beside_what_is_due() -> None:
    def decide(state: RotationState, _: RotationRequest) -> Decision:
        refused = state.id == A
        return Decision(Verdict.REFUSE, "OrphanKey", "look") if refused else Decision(Verdict.ROTATE, "Due")

    infisical = FakeInfisical(described(0xA), described(0xC))
    stage = DispatchStage(triggers={"weekly": [A, C]}, infisical=infisical, decide=decide)

    rotations = stage.dispatch.handle(DRY_RUN, "correlation")["rotations"]

    assert [(each["decision"], each["reason"], each["explanation"]) for each in rotations] == [
        ("refuse", "OrphanKey", "look"),
        ("rotate", "Due", ""),
    ]


def test_a_dry_run_asks_iam_about_ten_rotations_at_the_same_time() -> None:
    together = Barrier(10)

    def decide(_: RotationState, __: RotationRequest) -> Decision:
        together.wait(PATIENCE_SECONDS)  # raises unless all ten are here at once
        return Decision(Verdict.ROTATE, "Due")

    infisical = FakeInfisical(*(described(number) for number in range(10)))
    stage = DispatchStage(triggers={"weekly": {"project": "payments"}}, infisical=infisical, decide=decide)

    rotations = stage.dispatch.handle(DRY_RUN, "correlation")["rotations"]

    assert [each["rotation_id"] for each in rotations] == [rotation_id(number) for number in range(10)]


# ---- mirrors ---------------------------------------------------------------------------------------------------------

MIRROR = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mirror/deployer-AbCdEf"
MIRRORED = {"id": D, "keyGuard": {"gracePeriod": "2 days"}}


def with_mirror() -> DispatchStage:
    return DispatchStage(mirrors={MIRROR: MIRRORED}, infisical=FakeInfisical(described(0xD)))


def test_a_dry_run_may_name_a_mirror_and_reports_its_rotation() -> None:
    stage = with_mirror()

    answer = stage.dispatch.handle({"trigger": MIRROR, "dryRun": True}, "correlation")

    assert answer["trigger"] == MIRROR
    assert [(each["rotation_id"], each["grace_period_seconds"]) for each in answer["rotations"]] == [(D, 2 * 86_400)]
    assert stage.sqs.batches == []


@pytest.mark.parametrize(
    "event",
    [
        {"trigger": MIRROR},
        {"trigger": MIRROR, "dryRun": False},
        {"trigger": MIRROR, "force": True, "occurredAt": "2026-11-22T04:00:00Z"},
        {"trigger": MIRROR, "scheduledTime": "2026-11-22T04:00:00Z"},
        {
            "source": "aws.secretsmanager",
            "detail-type": "Secret Label Updated",
            "time": "2026-11-22T04:00:00Z",
            "resources": [MIRROR],
            "detail": {"labelUpdated": "AWSCURRENT"},
        },
    ],
    ids=["direct", "not dry", "forced", "scheduled", "the secret's own change"],
)
def test_a_mirrors_name_is_a_trigger_only_for_a_dry_run(event: dict[str, Any]) -> None:
    stage = with_mirror()

    with pytest.raises(UnmappedTriggerError):
        stage.dispatch.handle(event, "correlation")

    assert stage.sqs.batches == []


@pytest.mark.parametrize("name", ["mirror/deployer", MIRROR[:-7]], ids=["the secret's name", "part of its ARN"])
def test_a_mirror_is_named_by_its_full_arn_alone(name: str) -> None:
    with pytest.raises(UnmappedTriggerError):
        with_mirror().dispatch.handle({"trigger": name, "dryRun": True}, "correlation")


def test_a_dry_run_of_a_mirror_chooses_among_no_others_rotations() -> None:
    with pytest.raises(UnmappedRotationError):
        with_mirror().dispatch.handle({"trigger": MIRROR, "only": [A], "dryRun": True}, "correlation")


# ---- refused ---------------------------------------------------------------------------------------------------------

UNSUPPORTED = (DispatchStage, {"trigger": "weekly", "rotations": [A]}, UnsupportedEventError)
WRONG_MAP = (lambda: DispatchStage(triggers={"weekly": "payments"}), SCHEDULED, RotationMapError)
WRONG_ENTRY_ELSEWHERE = (lambda: DispatchStage(triggers={**MAP, "yearly": "payments"}), SCHEDULED, RotationMapError)
NO_JSON = (lambda: DispatchStage(text="None"), SCHEDULED, RotationMapError)
UNMAPPED = (DispatchStage, {"trigger": "yearly"}, UnmappedTriggerError)

STRANGER = (DispatchStage, {"trigger": "weekly", "only": [A, C]}, UnmappedRotationError)
STRANGER_TO_A_DRY_RUN = (DispatchStage, {"trigger": "weekly", "only": [A, C], "dryRun": True}, UnmappedRotationError)
UNTIMED_FORCE = (DispatchStage, {"trigger": "weekly", "force": True}, UnsupportedEventError)


def selecting(answer: httpx.Response | None = None) -> DispatchStage:
    """A selector after an id, and an Infisical that has nothing for it, or this answer."""
    return DispatchStage(
        triggers={"weekly": [A, {"project": "payments"}]}, infisical=FakeInfisical(disturb=lambda _: answer)
    )


EMPTY = (selecting, SCHEDULED, EmptySelectionError)
UNLISTED = (lambda: selecting(httpx.Response(200, json={"secretRotations": None})), SCHEDULED, ForeignAnswerError)


def unreadable_map() -> DispatchStage:
    stage = DispatchStage()

    def no_map() -> str:
        raise RuntimeError("AccessDenied")

    stage.dispatch = replace(stage.dispatch, read_map=no_map)
    return stage


UNREADABLE = (unreadable_map, SCHEDULED, RuntimeError)
NO_QUEUE = (lambda: DispatchStage(down=True), SCHEDULED, UndeliveredRequestsError)

EACH_REFUSAL = pytest.mark.parametrize(
    ("stage_of", "event", "error"),
    [
        UNSUPPORTED,
        WRONG_MAP,
        WRONG_ENTRY_ELSEWHERE,
        NO_JSON,
        UNMAPPED,
        STRANGER,
        STRANGER_TO_A_DRY_RUN,
        UNTIMED_FORCE,
        EMPTY,
        UNLISTED,
        UNREADABLE,
        NO_QUEUE,
    ],
    ids=[
        "unsupported event",
        "wrong map",
        "wrong entry elsewhere",
        "no JSON",
        "unmapped trigger",
        "unmapped rotation",
        "unmapped rotation in a dry run",
        "force without a time",
        "empty selection",
        "invalid list",
        "unreadable map",
        "no queue",
    ],
)


@EACH_REFUSAL
def test_an_error_is_raised_so_that_lambda_keeps_the_event(
    stage_of: Callable[[], DispatchStage], event: object, error: type[Exception]
) -> None:
    with pytest.raises(error):
        stage_of().dispatch.handle(event, "correlation")


@EACH_REFUSAL
def test_an_error_sends_no_request(
    stage_of: Callable[[], DispatchStage], event: object, error: type[Exception]
) -> None:
    stage = stage_of()

    with pytest.raises(error):
        stage.dispatch.handle(event, "correlation")

    assert stage.requested == []


@EACH_REFUSAL
def test_an_error_is_logged_with_its_reason_and_correlation_id(
    stage_of: Callable[[], DispatchStage], event: object, error: type[Exception]
) -> None:
    stage = stage_of()

    with pytest.raises(error) as refused:
        stage.dispatch.handle(event, "correlation")

    (line,) = stage.observed.logs
    expected = {
        "level": "ERROR",
        "message": "trigger refused",
        "reason": error.__name__.removesuffix("Error"),
        "explanation": str(refused.value),
        "correlation_id": "correlation",
    }
    assert line.items() >= expected.items()


def test_a_refusal_by_infisical_is_logged_by_its_own_reason() -> None:
    stage = selecting(
        httpx.Response(403, json={"statusCode": 403, "error": "PermissionDenied", "message": "you may not"})
    )

    with pytest.raises(RejectedError, match="you may not"):
        stage.dispatch.handle(SCHEDULED, "correlation")

    assert [(line["level"], line["reason"]) for line in stage.observed.logs] == [("ERROR", "PermissionDenied")]


def test_an_unmapped_trigger_is_counted_with_its_explanation() -> None:
    stage = DispatchStage()

    with pytest.raises(UnmappedTriggerError) as refused:
        stage.dispatch.handle({"trigger": "yearly"}, "correlation")

    (line,) = stage.observed.metrics
    assert stage.observed.counted == ["UnmappedTrigger"]
    assert line["explanation"] == str(refused.value)


@pytest.mark.parametrize(
    ("stage_of", "event", "error"),
    [UNSUPPORTED, WRONG_MAP, STRANGER, EMPTY, NO_QUEUE],
    ids=["event", "map", "rotation", "selection", "queue"],
)
def test_other_refusals_are_not_counted_as_unmapped_triggers(
    stage_of: Callable[[], DispatchStage], event: object, error: type[Exception]
) -> None:
    stage = stage_of()

    with pytest.raises(error):
        stage.dispatch.handle(event, "correlation")

    assert stage.observed.counted == []


# ---- not delivered ---------------------------------------------------------------------------------------------------


def test_half_delivered_is_raised_naming_what_is_missing() -> None:
    stage = DispatchStage(refused=[B])

    with pytest.raises(UndeliveredRequestsError, match=B):
        stage.dispatch.handle(SCHEDULED, "correlation")


def test_a_half_delivered_trigger_is_counted_as_refused() -> None:
    stage = DispatchStage(refused=[B])

    with pytest.raises(UndeliveredRequestsError):
        stage.dispatch.handle(SCHEDULED, "correlation")

    assert [(line["message"], line["reason"]) for line in stage.observed.logs] == [
        ("trigger refused", "UndeliveredRequests")
    ]


def test_a_lambda_retry_sends_duplicates_that_the_queue_drops() -> None:
    stage = DispatchStage(refused=[B])
    with pytest.raises(UndeliveredRequestsError):
        stage.dispatch.handle(SCHEDULED, "correlation")

    stage.sqs.refused_groups = ()
    stage.dispatch.handle(SCHEDULED, "correlation")

    first, second = stage.sqs.batches
    assert [entry.get("MessageDeduplicationId") for entry in first] == [
        entry.get("MessageDeduplicationId") for entry in second
    ]


# ---- whoever may send events must not choose whose keys are rotated --------------------------------------------------

NAMES = st.sampled_from(["weekly", "daily", "leaver", "yearly", MIRROR])
IDS = st.sampled_from([A, B, C, D, E])
TIME = st.just("2026-11-22T04:00:00Z")
RESOURCES = st.builds(
    "arn:aws:{}:us-east-1:123456789012:{}/{}".format,
    st.sampled_from(["events", "scheduler"]),
    st.sampled_from(["rule", "rule/bus", "schedule/default"]),
    NAMES | IDS,
)
ENTRIES = (
    IDS
    | st.lists(IDS, max_size=2)
    | st.fixed_dictionaries({"id": IDS})
    | st.fixed_dictionaries({"weekly": IDS})
    | st.just({"project": "payments"})
)
SMUGGLED = st.dictionaries(
    st.sampled_from(["rotationId", "id", "rotations", "requests", "triggers", "map", "detail", "input", "account"])
    | st.sampled_from(["only", "force", "occurredAt", "project"]),
    ENTRIES,
    max_size=2,
)
SCHEDULES_AND_RULES = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["aws.events", "aws.scheduler"]),
        "detail-type": st.just("Scheduled Event"),
        "time": TIME,
        "resources": st.lists(RESOURCES | IDS, max_size=3),
    },
    optional={"trigger": NAMES},
)
CUSTOM_EVENTS = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["rotations", "aws.events"]),
        "detail-type": st.just("Rotation Requested"),
        "time": TIME,
        "detail": st.builds(lambda detail, smuggled: detail | smuggled, st.builds(dict, trigger=NAMES), SMUGGLED),
    }
)
INVOCATIONS = st.fixed_dictionaries(
    {"trigger": NAMES | ENTRIES},
    optional={
        "scheduledTime": TIME,
        "occurredAt": TIME,
        "only": st.lists(IDS, max_size=3),
        "force": st.booleans(),
        "dryRun": st.booleans(),
    },
)
EVENTS = st.builds(
    lambda event, smuggled: event | smuggled, SCHEDULES_AND_RULES | CUSTOM_EVENTS | INVOCATIONS, SMUGGLED | st.just({})
)
# What the map says, and Infisical of the selector in it. E is no trigger's: a mirror has it.
MAPPED = {"weekly": [A, B], "daily": [C], "leaver": [D]}
WITH_A_SELECTOR = MAP | {"leaver": {"project": "payments"}}


@given(EVENTS)
def test_no_event_requests_a_rotation_outside_its_trigger(event: dict[str, Any]) -> None:
    infisical = FakeInfisical(described(0xD), described(0xE, projectId="other"))
    stage = DispatchStage(triggers=WITH_A_SELECTOR, mirrors={MIRROR: E}, infisical=infisical)
    expected: list[str] = []

    try:
        answer = stage.dispatch.handle(event, "correlation")
    except (UnsupportedEventError, UnmappedTriggerError, UnmappedRotationError):
        answer = {"dry_run": True}
    if not answer.get("dry_run"):
        chosen = event.get("only") if "detail-type" not in event else None  # no event of EventBridge can choose
        expected = [each for each in MAPPED[answer["trigger"]] if chosen is None or each in chosen]

    assert stage.requested == expected


# ---- ignored ---------------------------------------------------------------------------------------------------------


def test_an_event_that_leaves_the_secret_as_it_was_is_ignored_without_an_error() -> None:
    secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payments/deployer-AbCdEf"
    event = {
        "source": "aws.secretsmanager",
        "detail-type": "AWS API Call via CloudTrail",
        "time": "2026-11-22T04:00:00Z",
        "detail": {
            "eventName": "UpdateSecret",
            "requestParameters": {"secretId": secret, "description": "new"},
            "responseElements": {"arn": secret},
        },
    }
    stage = DispatchStage(triggers={secret: A})

    answer = stage.dispatch.handle(event, "correlation")

    assert (answer["requests"], stage.sqs.batches, stage.observed.metrics) == (0, [], [])
    assert [(line["level"], line["message"]) for line in stage.observed.logs] == [("INFO", "event ignored")]


# ---- odd rotations in a list -----------------------------------------------------------------------------------------


def test_an_invalid_listed_rotation_is_logged_and_stops_no_other() -> None:
    without_folder = described(0xC, folder=None)
    infisical = FakeInfisical(described(0xA), described(0xB, rotationStatus=None), without_folder, described(0xD))
    stage = DispatchStage(triggers={"weekly": {"project": "payments"}}, infisical=infisical)

    stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.requested == [A, B, D]
    (line,) = (line for line in stage.observed.logs if line["level"] == "WARNING")
    assert (line["message"], line["trigger"], line["correlation_id"]) == (
        "rotation unreadable",
        "weekly",
        "correlation",
    )
    assert C in line["explanation"]


def test_a_listed_rotation_of_the_future_does_not_stop_the_others() -> None:
    ahead = described(0xB, lastRotatedAt="2026-11-24T05:00:00.000Z")
    stage = DispatchStage(triggers={"weekly": {"project": "payments"}}, infisical=FakeInfisical(described(0xA), ahead))

    answer = stage.dispatch.handle({"trigger": "weekly", "dryRun": True}, "correlation")

    assert [(each["rotation_id"], each["decision"]) for each in answer["rotations"]] == [
        (A, "rotate"),
        (B, "unreadable"),
    ]


# ---- mirrored rotations ----------------------------------------------------------------------------------------------


def with_a_mirrored_one() -> DispatchStage:
    """A selector that matches three rotations, of which a secret mirrors one."""
    infisical = FakeInfisical(*(described(number) for number in (0xA, 0xB, 0xC)))
    return DispatchStage(triggers={"weekly": {"project": "payments"}}, mirrors={MIRROR: B}, infisical=infisical)


def test_a_selector_leaves_mirrored_rotations_out_and_names_them() -> None:
    stage = with_a_mirrored_one()

    answer = stage.dispatch.handle(SCHEDULED, "correlation")

    assert stage.requested == [A, C]
    assert answer["mirrored"] == [B]
    assert [line["mirrored"] for line in stage.observed.logs] == [[B]]


def test_a_dry_run_names_a_mirrored_rotation_that_a_selector_leaves_out() -> None:
    stage = with_a_mirrored_one()

    answer = stage.dispatch.handle({"trigger": "weekly", "dryRun": True}, "correlation")

    assert [each["rotation_id"] for each in answer["rotations"]] == [A, C]
    assert answer["mirrored"] == [B]
