"""What `make preflight` makes of an answer."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from infisical_rotation_triggers.preflight import checks
from infisical_rotation_triggers.preflight.checks import Problem, format_duration
from infisical_rotation_triggers.preflight.functions import Failure
from tests.unit.dry_run_reports import HOOK, ROLE, SECRET, mirror, report, unreadable

if TYPE_CHECKING:
    from rotator.dry_run.reports import MirrorReport, RotationReport, UnreadableRotation

ROOT = Path(__file__).parents[2]
HOUR = timedelta(hours=1)
WEEK = timedelta(weeks=1)
MAXIMUM_AGE = timedelta(days=35)


def judged(
    answer: dict[str, Any], period: timedelta | None = WEEK, maximum_age: timedelta = MAXIMUM_AGE
) -> list[Problem]:
    return checks.check_rotation(cast("RotationReport | UnreadableRotation", answer), period, maximum_age, ROLE)


# ---- rotations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"decision": "skip", "reason": "TooSoon"},
        {"decision": "skip", "reason": "AlreadyRotated"},
        {"decision": "skip", "reason": "TooSoon", "key_guard_refusal": "KeyInUse", "key_guard_explanation": "used"},
    ],
    ids=["due", "too soon", "rotated", "too soon, while consumers pick the new key up"],
)
def test_a_healthy_rotation_is_no_problem(fields: dict[str, object]) -> None:
    assert judged(report(**fields)) == []


REFUSALS = ("OrphanKey", "KeyInUse", "PublishedKeyMissing", "KeysUnreadable", "PreviousAttemptFailed")


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_rotation_that_would_be_refused_is_reported_with_its_reason(reason: str) -> None:
    fields = {"decision": "refuse", "reason": reason, "explanation": "AKIA1", "key_guard_refusal": reason}

    (problem,) = judged(report(**fields))

    assert problem.what == f"it would be refused now ({reason}): AKIA1"
    assert problem.next_step.startswith("see docs/runbook.md#")


@pytest.mark.parametrize("reason", ["OrphanKey", "PublishedKeyMissing", "KeysUnreadable"])
def test_a_coming_refusal_of_the_key_guard_is_reported_before_it_is_due(reason: str) -> None:
    fields = {"decision": "skip", "reason": "TooSoon", "key_guard_refusal": reason, "key_guard_explanation": "AKIA1"}

    (problem,) = judged(report(**fields))

    assert problem.what == f"it would be refused once it is due ({reason}): AKIA1"
    assert problem.next_step == f"see docs/runbook.md#{reason.lower()}"


@pytest.mark.parametrize("reason", ["StaleState", "UnsettledKey", "IamUnavailable"])
@pytest.mark.parametrize(
    "fields",
    [
        lambda reason: {"decision": "wait", "reason": reason, "explanation": "its words"},
        lambda reason: {
            "decision": "skip",
            "reason": "TooSoon",
            "key_guard_refusal": reason,
            "key_guard_explanation": "its words",
        },
    ],
    ids=["due", "not due"],
)
def test_an_undecided_rotation_is_a_temporary_problem(fields: Callable[[str], dict[str, object]], reason: str) -> None:
    (problem,) = judged(report(**fields(reason)))

    assert problem.what == f"no decision is possible now ({reason}): its words"
    assert problem.next_step.startswith("run preflight again")


def test_a_rotation_with_auto_rotation_is_reported() -> None:
    (problem,) = judged(report(auto_rotation=True))

    assert problem.what.startswith("auto-rotation is on")
    assert "midnight UTC" in problem.next_step
    assert "auto-rotation off" in problem.next_step


def test_all_problems_of_one_rotation_are_reported_at_once() -> None:
    wrong = report(decision="refuse", reason="OrphanKey", auto_rotation=True, minimum_interval_seconds=30 * 86_400)

    assert len(judged(wrong)) == 3


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("NotFound", "correct the id"),
        ("BadRequest", "correct the type"),
        ("PermissionDenied", "read Secret Rotations"),
        ("Rejected", "add the machine identity to the project"),
        ("Rejected", "correct the type"),
        ("LoginRefused", f"allow {ROLE} as a principal"),
        ("Unreachable", "InfisicalUrl"),
        ("Redirect", "correct InfisicalUrl"),
        ("SomethingNew", "docs/runbook.md"),
    ],
)
def test_an_unreadable_rotation_is_reported_with_the_next_step(reason: str, step: str) -> None:
    (problem,) = judged(unreadable(reason))

    assert problem.what == f"it cannot be read ({reason}): Infisical's words"
    assert step in problem.next_step


# ---- beside the schedule ---------------------------------------------------------------------------------------------

NEARLY_A_WEEK = int(0.9 * WEEK.total_seconds())


@pytest.mark.parametrize(
    ("field", "told"),
    [("minimum_interval_seconds", "its minimum interval of"), ("grace_period_seconds", "its grace period of")],
)
def test_an_interval_not_well_below_the_period_is_reported(field: str, told: str) -> None:
    (at_the_edge,) = judged(report(**{field: NEARLY_A_WEEK}))
    (above,) = judged(report(**{field: 8 * 86_400}))

    assert judged(report(**{field: NEARLY_A_WEEK - 1})) == []
    assert at_the_edge.what.startswith(told)
    assert above.what.startswith(f"{told} 8 d is too close to the schedule's period of 7 d")


@pytest.mark.parametrize(("own", "stacks"), [(None, WEEK), (7 * 86_400, MAXIMUM_AGE)], ids=["the stack's", "the map's"])
def test_a_maximum_age_that_ends_before_the_next_occurrence_is_reported(own: int | None, stacks: timedelta) -> None:
    (problem,) = judged(report(maximum_age_seconds=own), maximum_age=stacks)

    assert problem.what.startswith("its maximum age of 7 d is not above the schedule's period of 7 d")


@pytest.mark.parametrize(
    ("own", "stacks"), [(None, WEEK + HOUR), (7 * 86_400 + 1, WEEK)], ids=["the stack's", "the map's"]
)
def test_a_maximum_age_above_the_period_is_none(own: int | None, stacks: timedelta) -> None:
    assert judged(report(maximum_age_seconds=own), maximum_age=stacks) == []


def test_an_unknown_period_is_compared_with_nothing() -> None:
    slow = report(minimum_interval_seconds=10**9, grace_period_seconds=10**9, maximum_age_seconds=1)

    assert judged(slow, period=None) == []
    assert len(judged(slow)) == 3


def test_a_grace_period_without_key_guard_is_ignored() -> None:
    unguarded = report(key_guard=False)
    for name in ("key_guard_refusal", "key_guard_explanation", "grace_period_seconds"):
        del unguarded[name]

    assert judged(unguarded, period=HOUR * 2) == []


# ---- mirrors ---------------------------------------------------------------------------------------------------------


def of_mirror(**fields: object) -> list[Problem]:
    return checks.check_mirror(cast("MirrorReport", mirror(**fields)), HOOK, ROLE)


@pytest.mark.parametrize("function", [HOOK, f"{HOOK}:live", "stack-HookFunction"], ids=["ARN", "alias", "name"])
def test_a_mirror_in_step_that_the_hook_rotates_is_no_problem(function: str) -> None:
    assert of_mirror(rotation_function=function) == []


@pytest.mark.parametrize(
    ("state", "told"), [("lags", "another key than Infisical publishes"), ("no value yet", "no value yet")]
)
def test_a_mirror_that_lags_is_fixed_by_rotating_the_secret(state: str, told: str) -> None:
    (problem,) = of_mirror(state=state)

    assert told in problem.what
    assert problem.next_step.startswith(f"aws secretsmanager rotate-secret --secret-id {SECRET} ")


def test_a_mirror_without_json_says_how_to_make_it_so() -> None:
    (problem,) = of_mirror(state="not a JSON object")

    assert problem.next_step.startswith(f"aws secretsmanager put-secret-value --secret-id {SECRET} ")
    assert "all other fields that the secret's readers need" in problem.next_step


@pytest.mark.parametrize("function", [None, f"{HOOK}Two", HOOK.removesuffix("Function")])
def test_a_mirror_that_something_else_rotates_is_reported_once(function: str | None) -> None:
    (problem,) = of_mirror(rotation_function=function, rotation_enabled=False)

    assert problem.what.startswith(function or "no function")
    assert f'--rotation-lambda-arn {HOOK} --rotation-rules \'{{"ScheduleExpression": ' in problem.next_step


def test_a_rotation_that_is_switched_off_is_reported() -> None:
    (problem,) = of_mirror(rotation_enabled=False)

    assert "switched off" in problem.what


def test_an_unreadable_secret_gets_no_further_checks() -> None:
    answer = mirror(
        state="unknown", unreadable=[{"what": "secret", "reason": "AccessDeniedException", "explanation": "no"}]
    )
    for name in ("rotation_enabled", "rotation_function", "rotation_schedule"):
        del answer[name]

    (problem,) = checks.check_mirror(cast("MirrorReport", answer), HOOK, ROLE)

    assert problem.what == "the hook cannot read the secret (AccessDeniedException): no"
    assert "MirroredSecretArns" in problem.next_step


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("PermissionDenied", "their generated credentials"),
        ("Rejected", "their generated credentials"),
        ("LoginRefused", f"allow {ROLE} as a principal"),
        ("BadRequest", "correct the type"),
    ],
)
def test_a_key_that_the_hook_cannot_read_is_reported(reason: str, step: str) -> None:
    side = {"what": "credentials", "reason": reason, "explanation": "no"}

    (problem,) = of_mirror(state="unknown", unreadable=[side])

    assert problem.what == f"the hook cannot read the published key ({reason}): no"
    assert step in problem.next_step


# ---- the map ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("triggers", "mirrors", "enabled"),
    [(["weekly"], [], True), (["weekly"], [], False), ([], [SECRET], False)],
    ids=["scheduled", "to be scheduled", "mirrors alone"],
)
def test_a_map_that_has_what_the_schedule_names_is_no_problem(
    triggers: list[str],
    mirrors: list[str],
    enabled: bool,  # noqa: FBT001 - a parameter
) -> None:
    assert checks.check_map(triggers, mirrors, "weekly", enabled=enabled) == []


@pytest.mark.parametrize(
    ("triggers", "mirrors", "enabled", "told"),
    [
        (["daily", "monthly"], [], False, "it has no trigger weekly, which the schedule uses; its triggers: daily, "),
        (["daily"], [], True, "it has no trigger weekly"),
        ([], [SECRET], True, "it has no trigger weekly, which the schedule uses; its triggers: none"),
        ([], [], True, "it has no trigger weekly"),
        ([], [], False, "it has no trigger and no mirror"),
    ],
)
def test_a_map_that_does_not_fit_the_schedule_is_reported(
    triggers: list[str],
    mirrors: list[str],
    enabled: bool,  # noqa: FBT001 - a parameter
    told: str,
) -> None:
    (problem,) = checks.check_map(triggers, mirrors, "weekly", enabled=enabled)

    assert problem.what.startswith(told)
    assert problem.next_step


# ---- answers that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("Sandbox.Timedout", '"only"'),
        ("Function.ResponseSizeTooLarge", '"only"'),
        ("ReadTimeoutError", '"only"'),
        ("EmptySelection", "correct the rotation map"),
        ("LoginRefused", f"allow {ROLE}"),
        ("Settings", "deploy again"),
        ("Runtime.ExitError", "log"),
    ],
)
def test_a_dry_run_that_failed_says_what_to_do(reason: str, step: str) -> None:
    problem = checks.failed_dry_run(Failure(reason, "its words"), ROLE)

    assert problem.what == f"the dry run failed ({reason}): its words"
    assert step in problem.next_step


def test_every_runbook_section_that_is_linked_exists() -> None:
    headings = re.findall(r"^##+ (.+)$", (ROOT / "docs" / "runbook.md").read_text("utf-8"), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    named = [
        re.findall(r"docs/runbook\.md#([a-z-]+)", checks.next_step(reason, ROLE))
        for reason in (*REFUSALS, "SomethingNew")
    ]

    assert all(len(each) == 1 for each in named)
    assert {anchor for each in named for anchor in each} - anchors == set()


@pytest.mark.parametrize(
    ("duration", "said"), [(WEEK, "7 d"), (HOUR * 36, "36 h"), (HOUR * 1.5, "90 min"), (HOUR / 48, "75 s")]
)
def test_a_duration_is_said_without_a_fraction(duration: timedelta, said: str) -> None:
    assert format_duration(duration) == said
