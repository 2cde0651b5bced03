"""`make preflight` beside functions that answer as they like, or not at all."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from rich.console import Console
from samcli.yamlhelper import yaml_parse

from infisical_rotation_triggers.preflight.checks import Problem
from infisical_rotation_triggers.preflight.collect import ACCESS_CHECKED, Preflight, Row, with_shared_users
from infisical_rotation_triggers.preflight.display import MAX_SUBJECTS, describe, open_console, show
from infisical_rotation_triggers.preflight.functions import READ_TIMEOUT_SECONDS, DeployedFunctions, OutdatedError
from infisical_rotation_triggers.preflight.run import THE_MAP
from infisical_rotation_triggers.preflight.stack import Schedule, Stack, read_schedule
from rotator.triggers.rotation_map import parse_rotation_map
from tests.sandbox.embedded_aws import ROOT
from tests.unit.dry_run_reports import HOOK, ROLE, SECRET, mirror, report, unreadable
from tests.unit.fakes import NOW, rotation_id

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

A, B, C = rotation_id(0xA), rotation_id(0xB), rotation_id(0xC)
DISPATCH, ROTATE, AUDIT = "stack-DispatchFunction", "stack-RotateFunction", "stack-AuditFunction"
RETIRE = "stack-RetireFunction"
WEEK = timedelta(weeks=1)


@dataclass
class Failing:
    """What Lambda answers where the function failed."""

    payload: object


@dataclass
class FakeLambda:
    """Answers by what is asked about; whatever has no answer of its own is a trigger whose one rotation is in order."""

    answers: Mapping[str, object] = field(default_factory=dict)
    invoked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        event = json.loads(Payload)
        self.invoked.append((FunctionName, event))
        names = {HOOK: f"hook of {event.get('SecretId')}", ROTATE: "rotate", AUDIT: "audit", RETIRE: "retire"}
        others = {HOOK: mirror(), DISPATCH: {"rotations": [report()]}}
        name = names.get(FunctionName) or event["trigger"]
        answer = self.answers.get(name, others.get(FunctionName, {"readable": True}))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Failing):
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(answer.payload).encode())}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}


def refused(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "its words"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item] # all that is read
        "Invoke",
    )


def rows_of(
    answers: Mapping[str, object],
    triggers: Mapping[str, object] = {"weekly": A},
    *,
    mirrors: Mapping[str, object] = {},
    hook: str | None = HOOK,
    period: timedelta | None = WEEK,
) -> tuple[list[Row], list[tuple[str, dict[str, Any]]]]:
    """The rows of a map, and what was asked for them."""
    functions = FakeLambda(answers)
    rotation_map = parse_rotation_map(json.dumps({"triggers": triggers, "mirrors": mirrors}))
    return list(preflight_by(functions, hook, period).collect_rows(rotation_map)), functions.invoked


def preflight_by(
    functions: FakeLambda, hook: str | None = HOOK, period: timedelta | None = WEEK, retire: str | None = RETIRE
) -> Preflight:
    stack = Stack(
        dispatch=DISPATCH,
        dispatch_role=ROLE,
        rotate=ROTATE,
        rotate_role="rotate-role",
        audit=AUDIT,
        audit_role="audit-role",
        hook=hook,
        hook_role="hook-role",
        retire=retire,
        retire_role="retire-role",
        map_parameter="/map",
        schedule="schedule",
        schedule_group="group",
        alarm_topic="arn:aws:sns:us-east-1:123456789012:alarms",
        failure_messages=True,
        schedule_trigger="weekly",
        maximum_age=timedelta(days=35),
    )
    deployed = DeployedFunctions(cast("LambdaClient", functions), DISPATCH, hook)
    return Preflight(stack, deployed, period, NOW)


# ---- asking ----------------------------------------------------------------------------------------------------------


def test_preflight_makes_a_dry_run_of_every_trigger_and_mirror_only() -> None:
    rows, asked = rows_of({}, {"weekly": A, "mirror's/other": [A, C]}, mirrors={SECRET: B})

    assert asked == [
        (DISPATCH, {"trigger": "weekly", "dryRun": True}),
        (DISPATCH, {"trigger": "mirror's/other", "dryRun": True}),
        (HOOK, {"dryRun": True, "SecretId": SECRET}),
        (DISPATCH, {"trigger": SECRET, "dryRun": True}),
    ]
    assert [row.group for row in rows] == ["weekly", "mirror's/other", "mirror/deployer"]
    assert [row.problems for row in rows] == [[], [], []]


def test_rotations_that_share_an_iam_user_are_a_problem_of_each() -> None:
    def shared(number: int, **fields: object) -> dict[str, Any]:
        return report(rotation_id=rotation_id(number), connection_id="c1", **fields)

    alone = shared(4, user_name="alone")
    databases = [report(rotation_id=rotation_id(n), connection_id="c1", user_name=None) for n in (5, 6)]
    reports = {"weekly": {"rotations": [shared(1), shared(2), alone, *databases]}, "daily": {"rotations": [shared(1)]}}
    rows, _ = rows_of(reports, {"weekly": A, "daily": A})

    problems = [[each.what for each in row.problems] for row in with_shared_users(rows)]

    what = f"2 rotations share the IAM user deployer ({rotation_id(1)}, {rotation_id(2)}):"
    assert [[each.startswith(what) for each in of_row] for of_row in problems] == [[True], [True], [], [], [], [True]]


def test_each_rotation_has_a_row_with_its_state() -> None:
    itself = report(auto_rotation=True, rotation_name="reports", key_guard_refusal="OrphanKey", user_name="reports")
    database = report(rotation_type="mysql-credentials", key_guard=False, user_name=None, decision="skip")
    rows, _ = rows_of({"weekly": {"rotations": [report(), itself, database, unreadable("NotFound")]}})

    assert [(row.rotation, row.detail, row.key_guard, row.auto_rotation, row.decision) for row in rows] == [
        ("payments", "user deployer", "in order", "off", "rotate"),
        ("reports", "", "OrphanKey", "on", "rotate"),
        ("payments", "mysql-credentials", "off", "off", "skip"),
        (rotation_id(1), "", "", "", "unreadable"),
    ]
    assert [len(row.problems) for row in rows] == [0, 2, 0, 1]


TOO_LARGE = Failing({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": "Response payload size exceeded"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Failing({"errorType": "EmptySelectionError", "errorMessage": "matches no rotation"}), "EmptySelection"),
        (Failing({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 60 s"}), "Sandbox.Timedout"),
        (Failing({"errorMessage": "2026-11-22T05:00:00Z 1f2 Task timed out after 60.00 seconds"}), "Sandbox.Timedout"),
        (TOO_LARGE, "Function.ResponseSizeTooLarge"),
        (Failing({"errorMessage": "out of memory"}), "Unhandled"),
        (Failing({}), "Unhandled"),
        (refused("TooManyRequestsException", 429), "TooManyRequestsException"),
        (refused("ServiceException", 500), "ServiceException"),
        (ReadTimeoutError(endpoint_url="https://lambda"), "ReadTimeoutError"),
        (EndpointConnectionError(endpoint_url="https://lambda"), "EndpointConnectionError"),
    ],
    ids=[
        "refused",
        "timed out",
        "timed out, older",
        "6 MB",
        "died",
        "silent",
        "throttled",
        "Lambda",
        "lost",
        "offline",
    ],
)
def test_a_trigger_without_an_answer_is_reported_and_stops_no_other(answer: object, reason: str) -> None:
    (failed, fine), _ = rows_of({"weekly": answer}, {"weekly": A, "monthly": B})

    assert (failed.group, failed.decision, failed.reason) == ("weekly", "unknown", reason)
    (problem,) = failed.problems
    assert problem.what.startswith(f"the dry run failed ({reason}): ")
    assert (fine.group, fine.problems) == ("monthly", [])


def test_a_denied_invocation_ends_preflight() -> None:
    with pytest.raises(ClientError):
        rows_of({"weekly": refused("AccessDeniedException", 403)}, {"weekly": A, "monthly": B})


def test_functions_that_are_older_than_this_program_are_not_judged() -> None:
    old = report()
    del old["minimum_interval_seconds"]

    with pytest.raises(OutdatedError, match="deploy this version"):
        rows_of({"weekly": {"rotations": [unreadable("NotFound"), old]}})


def test_the_client_waits_longer_than_either_function_may_run() -> None:
    functions = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    longest = max(functions[name]["Properties"]["Timeout"] for name in ("DispatchFunction", "HookFunction"))

    assert longest < READ_TIMEOUT_SECONDS


# ---- beside the schedule ---------------------------------------------------------------------------------------------


def test_only_the_schedules_trigger_is_compared_with_its_period() -> None:
    slow = {"rotations": [report(minimum_interval_seconds=8 * 86_400)]}

    (weekly, monthly), _ = rows_of({"weekly": slow, "monthly": slow}, {"weekly": A, "monthly": B})

    assert len(weekly.problems) == 1
    assert monthly.problems == []


@pytest.mark.parametrize(
    ("schedule", "problems"),
    [("rate(30 days)", 0), ("rate(4 hours)", 2), ("cron(0 8 1W * ? *)", 0), (None, 0)],
    ids=["seldom", "often", "not understood", "none"],
)
def test_a_mirror_is_compared_with_its_own_schedule(schedule: str | None, problems: int) -> None:
    answers = {
        f"hook of {SECRET}": mirror(rotation_schedule=schedule),
        SECRET: {"rotations": [report(minimum_interval_seconds=86_400)]},
    }

    (row,), _ = rows_of(answers, {}, mirrors={SECRET: A})

    assert len(row.problems) == problems


# ---- mirrors ---------------------------------------------------------------------------------------------------------


def test_the_two_answers_about_a_mirror_are_one_row() -> None:
    answers = {
        f"hook of {SECRET}": mirror(state="lags"),
        SECRET: {"rotations": [report(decision="refuse", reason="KeyInUse", key_guard_refusal="KeyInUse")]},
    }

    (row,), _ = rows_of(answers, {}, mirrors={SECRET: A})

    assert (row.mirror, row.decision, row.reason) == ("lags", "refuse", "KeyInUse")
    assert [problem.what[:20] for problem in row.problems] == ["it holds another key", "it would be refused "]


def test_a_failing_hook_is_reported_beside_dispatchs_answer() -> None:
    failed = Failing({"errorType": "LoginRefusedError", "errorMessage": "not let in"})

    (row,), _ = rows_of({f"hook of {SECRET}": failed}, {}, mirrors={SECRET: A})

    assert (row.mirror, row.decision, row.rotation) == ("unknown", "rotate", "payments")
    (problem,) = row.problems
    assert "allow hook-role as a principal" in problem.next_step


def test_mirrors_of_a_stack_without_a_hook_are_reported() -> None:
    (row,), asked = rows_of({}, {}, mirrors={SECRET: A}, hook=None)

    assert [function for function, _ in asked] == [DISPATCH]
    (problem,) = row.problems
    assert "MirroredSecretArns" in problem.next_step


# ---- those that nobody invokes by hand -------------------------------------------------------------------------------


def access(
    answers: Mapping[str, object], triggers: Mapping[str, object], retire: str | None = RETIRE
) -> tuple[dict[str, list[Problem]], list[Any]]:
    """What keeps them from a rotation, and what they were asked."""
    functions = FakeLambda(answers)
    preflight = preflight_by(functions, retire=retire)
    rows = list(preflight.collect_rows(parse_rotation_map(json.dumps({"triggers": triggers}))))
    functions.invoked.clear()
    return preflight.check_access(rows), functions.invoked


def test_the_access_check_uses_one_readable_rotation() -> None:
    gone, there = (
        unreadable("NotFound") | {"rotation_id": A},
        report(rotation_id=B, rotation_type="postgres-credentials"),
    )

    problems, asked = access({"weekly": {"rotations": [gone, there]}}, {"weekly": [A, B]})

    assert problems == {"rotate": [], "audit": [], "retire": []}
    event = {"dryRun": True, "rotationId": B, "type": "postgres-credentials"}
    assert asked == [(ROTATE, event), (AUDIT, event), (RETIRE, event)]


def test_the_access_check_is_made_even_if_no_rotation_is_readable() -> None:
    _, asked = access({"weekly": {"rotations": [unreadable("NotFound")]}}, {"weekly": A})

    assert [event["rotationId"] for _, event in asked] == [rotation_id(1)] * 3


def test_the_access_check_is_skipped_if_no_rotation_is_known() -> None:
    failed = Failing({"errorType": "EmptySelectionError", "errorMessage": "matches no rotation"})

    assert access({"weekly": failed}, {"weekly": {"project": "p"}}) == ({}, [])


def test_a_stack_without_retire_has_no_access_to_check_there() -> None:
    problems, asked = access({}, {"weekly": A}, retire=None)

    assert [function for function, _ in asked] == [ROTATE, AUDIT]
    assert problems["retire"] == []


def test_a_refused_login_is_reported_with_the_role_to_allow() -> None:
    refusal = {"readable": False, "reason": "LoginRefused", "explanation": "not let in"}

    problems, _ = access(dict.fromkeys(ACCESS_CHECKED, refusal), {"weekly": A})

    for name in ACCESS_CHECKED:
        (problem,) = problems[name]
        assert problem.what == "it cannot be read (LoginRefused): not let in"
        assert f"allow {name}-role as a principal" in problem.next_step


def test_a_failed_access_check_is_reported_and_the_other_is_made() -> None:
    problems, asked = access({"rotate": Failing({"errorType": "SettingsError", "errorMessage": "no URL"})}, {"w": A})

    assert [function for function, _ in asked] == [ROTATE, AUDIT, RETIRE]
    assert [problem.what for problem in problems["rotate"]] == ["the dry run failed (Settings): no URL"]
    assert problems["audit"] == []


def test_whom_the_caller_may_not_invoke_is_not_asked_and_the_other_is() -> None:
    problems, asked = access({"rotate": refused("AccessDeniedException", 403)}, {"weekly": A})

    assert [function for function, _ in asked] == [ROTATE, AUDIT, RETIRE]
    assert problems == {"audit": [], "retire": []}


def test_any_other_refusal_by_lambda_ends_preflight() -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        access({"audit": refused("ResourceNotFoundException", 404)}, {"weekly": A})


def test_a_function_without_dry_runs_is_not_checked() -> None:
    with pytest.raises(OutdatedError, match="deploy this version first"):
        access({"audit": {"RotationsWatched": 1}}, {"weekly": A})


# ---- what is shown ---------------------------------------------------------------------------------------------------

OFF = Schedule("cron(0 5 ? * MON *)", "UTC", enabled=False, period=WEEK, rhythm="at least 7 d apart")
ON = Schedule("cron(0 5 ? * MON *)", "UTC", enabled=True, period=WEEK, rhythm="at least 7 d apart")


def shown(
    rows: list[Row],
    about_map: list[Problem] | None = None,
    schedule: Schedule = OFF,
    width: int = 200,
    *,
    access: Mapping[str, list[Problem]] = {"rotate": [], "audit": [], "retire": []},
) -> tuple[int, list[str]]:
    """The number of problems, and the lines."""
    screen = Console(file=StringIO(), width=width, highlight=False)
    count = show(screen, "weekly", schedule, rows, {THE_MAP: about_map or [], **access})
    return count, cast("StringIO", screen.file).getvalue().splitlines()


FINE = Row("weekly", "rotate", "Due", "payments", "user deployer", "2026-11-15T05:00:00.000Z", "in order", "off")
UNREAD = Problem("it cannot be read (NotFound): gone.", "correct the id")


def test_the_next_step_without_problems_is_to_enable_the_schedule() -> None:
    count, lines = shown([FINE])

    assert count == 0
    assert lines[0] == "Schedule: trigger weekly, cron(0 5 ? * MON *) in UTC, at least 7 d apart. It is off."
    (row,) = [line.split() for line in lines if "payments" in line]
    assert row == ["✓", "payments", "2026-11-15", "05:00", "rotate", "in", "order", "off"]
    assert any("user deployer" in line for line in lines)
    assert lines[-3:-1] == [
        "✓ No problems found.",
        "Next: deploy with ScheduleState=ENABLED to switch the schedule on.",
    ]


def test_a_skipped_check_is_reported() -> None:
    _, whole = shown([FINE])
    _, partly = shown([FINE], access={"audit": [], "retire": []})
    count, hardly = shown([FINE], access={})

    assert whole[-1] == "Not checked: whether the machine identity may rotate."
    assert partly[-1].startswith("Not checked: whether rotate can log in to Infisical (")
    assert hardly[-1].startswith("Not checked: whether rotate, audit and retire can log in to Infisical (")
    assert count == 0


def test_a_refused_login_is_a_problem_of_that_function() -> None:
    count, lines = shown([FINE], access={"rotate": [UNREAD], "audit": [], "retire": []})

    assert count == 1
    assert "✗ rotate: it cannot be read (NotFound): gone. Next: correct the id" in lines


def test_an_enabled_schedule_leaves_no_next_step() -> None:
    count, lines = shown([FINE], schedule=ON)

    assert (count, lines[0][-9:]) == (0, "It is on.")
    assert not any("ENABLED" in line for line in lines)


def test_a_problem_is_one_line_with_its_next_step() -> None:
    count, lines = shown([FINE, Row("weekly", "unreadable", "NotFound", A, problems=[UNREAD])], width=80)

    assert count == 1
    assert f"✗ weekly: {A}: it cannot be read (NotFound): gone. Next: correct the id" in lines
    assert "1 problem found. Fix it, then run preflight again." in lines


def test_a_problem_that_many_share_is_reported_once() -> None:
    rows = [Row("weekly", "unreadable", "LoginRefused", f"r{number}", problems=[UNREAD]) for number in range(12)]

    count, lines = shown(rows)

    assert count == 1
    (line,) = [line for line in lines if UNREAD.next_step in line]
    assert line.startswith("✗ weekly: r0, weekly: r1, ")
    assert f"weekly: r{MAX_SUBJECTS - 1}, {12 - MAX_SUBJECTS} more: it cannot be read" in line


def test_a_problem_with_the_map_is_printed_without_a_table() -> None:
    count, lines = shown([], [UNREAD])

    assert count == 1
    assert "✗ the rotation map: it cannot be read (NotFound): gone. Next: correct the id" in lines


def test_a_row_in_a_pipe_is_one_line_however_long_its_names_are() -> None:
    name, user = "payments-" + "x" * 300, "user " + "y" * 64
    pipe = StringIO()

    show(open_console(pipe), "weekly", OFF, [replace(FINE, rotation=name, detail=user)], {THE_MAP: []})

    (row,) = [line.split() for line in pipe.getvalue().splitlines() if name in line]
    assert row == ["✓", name, "2026-11-15", "05:00", "rotate", "in", "order", "off"]
    assert any(line.strip() == user for line in pipe.getvalue().splitlines())


def test_a_narrow_terminal_gets_lines_without_a_broken_word() -> None:
    name, refusal = "payments-deployer-of-the-whole-company", "PublishedKeyInactive"
    rows = [FINE, replace(FINE, rotation=name, reason="AlreadyRotated", decision="skip", key_guard=refusal)]

    _, narrow = shown(rows, width=80)
    _, wide = shown(rows, width=130)

    assert max(map(len, narrow)) <= 80 or "Schedule" in max(narrow, key=len)
    words = {word for line in narrow for word in line.replace(";", "").split()}
    assert words >= {name, refusal, "AlreadyRotated", "2026-11-15", "05:00", "weekly", "✓"}
    assert any(line.split()[:2] == ["✓", name] and refusal in line for line in wide)


def test_json_has_the_rows_and_problems_that_are_shown() -> None:
    rows = [FINE, Row("weekly", "unreadable", "NotFound", A, problems=[UNREAD], iam_user=("connection", "deployer"))]

    report = json.loads(json.dumps(describe("weekly", ON, rows, {THE_MAP: [UNREAD], "rotate": []})))

    assert report["schedule"] == {
        "trigger": "weekly",
        "expression": ON.expression,
        "timezone": "UTC",
        "enabled": True,
        "shortest_period_seconds": WEEK.total_seconds(),
    }
    assert [(each["rotation"], each["decision"]) for each in report["rotations"]] == [
        ("payments", "rotate"),
        (A, "unreadable"),
    ]
    problem = {"what": UNREAD.what, "next_step": UNREAD.next_step}
    assert report["problems"] == [{"subjects": [THE_MAP, f"weekly: {A}"], **problem}]
    assert report["access_not_checked"] == ["audit", "retire"]


def test_a_mirror_has_its_state_beside_its_name() -> None:
    _, lines = shown([Row("mirror/deployer", "rotate", "Due", "payments", mirror="in step")])

    assert any(line.split() == ["mirror/deployer", "mirror:", "in", "step"] for line in lines)


def test_names_from_outside_neither_move_the_cursor_nor_are_markup() -> None:
    hostile = "\x1b[2J[red]x[/red]\n"
    problem = Problem(f"what {hostile}", "see [bold]to it[/bold]")
    row = Row(hostile, "unreadable", hostile, hostile, hostile, problems=[problem])

    _, lines = shown([row])

    text = "\n".join(lines)
    assert "\x1b" not in text
    assert text.count("[red]x[/red]") == 7
    assert "see [bold]to it[/bold]" in text
    assert len([line for line in lines if line.startswith("✗ ")]) == 1


# ---- the schedule ----------------------------------------------------------------------------------------------------


class FakeScheduler:
    def __init__(self, expression: str, **fields: str) -> None:
        self.schedule = {"ScheduleExpression": expression, "State": "DISABLED", **fields}

    def get_schedule(self, GroupName: str, Name: str) -> dict[str, str]:  # noqa: N803 - boto3's names
        assert (GroupName, Name) == ("group", "schedule")
        return self.schedule


def schedule_of(expression: str, **fields: str) -> Schedule:
    return read_schedule(
        cast("EventBridgeSchedulerClient", FakeScheduler(expression, **fields)), "group", "schedule", NOW
    )


def test_the_schedule_says_whether_it_is_on_and_how_often_it_occurs() -> None:
    off, on = schedule_of("rate(1 day)"), schedule_of("rate(1 day)", State="ENABLED")

    assert (off.enabled, on.enabled) == (False, True)
    assert (off.period, off.rhythm) == (timedelta(days=1), "at least 1 d apart")


def test_the_schedules_time_zone_counts() -> None:
    daily = schedule_of("cron(0 5 * * ? *)", ScheduleExpressionTimezone="Europe/Berlin")

    assert (daily.timezone, daily.period) == ("Europe/Berlin", timedelta(hours=23))


@pytest.mark.parametrize(
    ("expression", "rhythm"),
    [("at(2026-11-30T05:00:00)", "at most one more occurrence"), ("cron(0 5 15W * ? *)", "an expression that")],
)
def test_a_schedule_without_a_known_period_says_so(expression: str, rhythm: str) -> None:
    schedule = schedule_of(expression)

    assert schedule.period is None
    assert schedule.rhythm.startswith(rhythm)
