"""`make preflight` as a person runs it, against the deployed stack: what is well, what is not, and what is next."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from rotator.telemetry import Metric
from tests.e2e.assertions import delta, posts_for
from tests.e2e.tools import Run, run_tool
from tests.sandbox.accounts import OTHER_ACCOUNT
from tests.sandbox.deployment import STACK
from tests.sandbox.sandbox import LONG_AGO, Sandbox
from tests.sandbox.standin.rotations import Rotation

NewRotation = Callable[..., Rotation]

UNKNOWN = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"
EMPTY_PROJECT = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0005"
SOMEBODY_ELSE = "arn:aws:iam::123456789012:role/somebody-else"


def preflight(deployed: Sandbox, *, stack: str = STACK, credentials: Mapping[str, str] | None = None) -> Run:
    """What `make preflight STACK=…` runs."""
    return run_tool(deployed, "preflight", "--stack", stack, environment=credentials)


def published(rotation: Rotation) -> dict[str, str]:
    return {name: rotation.published[name] for name in ("accessKeyId", "secretAccessKey")}


# ---- all is well -----------------------------------------------------------------------------------------------------


def test_preflight_of_a_healthy_stack_says_so_and_changes_nothing(deployed: Sandbox, new_rotation: NewRotation) -> None:
    due = new_rotation(is_auto_rotation_enabled=False)
    fresh = new_rotation(is_auto_rotation_enabled=False, last_rotated_at=datetime.now(UTC))
    mirrored = new_rotation(is_auto_rotation_enabled=False)
    secret = deployed.hook.add_secret(mirrored.name, published(mirrored))
    rotation_map = {"triggers": {"weekly": [due.id, fresh.id], "by/hand": fresh.id}, "mirrors": {secret: mirrored.id}}
    deployed.stack.put_map(rotation_map)
    labels, value, metrics = (
        deployed.hook.rotations.labels(secret),
        deployed.hook.value(secret),
        deployed.stack.metrics(),
    )
    keys = [deployed.valid_keys(each.name) for each in (due, mirrored)]

    run = preflight(deployed)

    assert (run.status, run.errors) == (0, "")
    assert run.lines[0] == "Schedule: trigger weekly, cron(0 5 ? * MON *) in UTC, at least 7 d apart. It is off."
    rows = [line.split() for line in run.lines if line.startswith(" ✓")]
    moment = ["2026-01-05", "05:00"]
    assert rows[0] == ["✓", due.name, *moment, "rotate", "in", "order", "off"]
    assert [row[:2] + row[4:6] for row in rows[1:3]] == [["✓", fresh.name, "skip:", "TooSoon"]] * 2
    assert rows[3][:2] == ["✓", mirrored.name]
    assert [line.split() for line in run.lines if "mirror:" in line] == [
        [f"mirror/{mirrored.name}", "mirror:", "in", "step"]
    ]
    assert "✓ No problems found." in run.lines
    assert any("ScheduleState=ENABLED" in line for line in run.lines)

    assert {posts_for(deployed, each) for each in (due, fresh, mirrored)} == {0}
    assert (deployed.hook.rotations.labels(secret), deployed.hook.value(secret)) == (labels, value)
    assert [deployed.valid_keys(each.name) for each in (due, mirrored)] == keys
    assert deployed.stack.depth("RotationRequestsUrl") == 0
    after = deployed.stack.metrics()
    assert [metric for metric in Metric if delta(metrics, after, metric)] == []


def test_a_map_that_was_changed_a_moment_ago_is_the_one_that_counts(
    deployed: Sandbox, new_rotation: NewRotation
) -> None:
    first, second = (new_rotation(is_auto_rotation_enabled=False) for _ in range(2))
    deployed.stack.put_map({"triggers": {"weekly": first.id}})
    ssm, name = deployed.stack.aws.client("ssm"), deployed.stack.outputs["RotationMapParameterName"]
    changed = json.dumps({"triggers": {"weekly": second.id}})
    deployed.stack.invoke({"trigger": "weekly", "dryRun": True})  # which keeps the map for some seconds

    ssm.put_parameter(Name=name, Value=changed, Type="String", Overwrite=True)
    run = preflight(deployed)

    assert run.status == 0
    assert any(second.name in line for line in run.lines)
    assert not any(first.name in line for line in run.lines)


# ---- what is wrong ---------------------------------------------------------------------------------------------------


class Wrong(NamedTuple):
    """A run over a map in which each thing is wrong in its own way, under the name of a trigger or a mirror."""

    run: Run
    rotations: dict[str, Rotation]
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def wrong(deployed: Sandbox) -> Wrong:
    fields: dict[str, dict[str, Any]] = {
        "fine": {},
        "mirrored": {},
        "itself": {"is_auto_rotation_enabled": True},
        "orphan": {},
        "orphan-soon": {"last_rotated_at": datetime.now(UTC) - timedelta(minutes=20)},
        "used": {},
        "elsewhere": {"account": OTHER_ACCOUNT},
        "database": {"rotation_type": "postgres-credentials"},
        "slug": {},
        "interval": {},
        "grace": {},
        "age": {},
        "unlimited": {},
    }
    rotations = {
        name: deployed.add_rotation(f"preflight-{name}", **{"is_auto_rotation_enabled": False, **own})
        for name, own in fields.items()
    }
    ids = {name: rotation.id for name, rotation in rotations.items()}
    for name in ("orphan", "orphan-soon"):
        orphan = deployed.iam.create_access_key(UserName=rotations[name].name)["AccessKey"]["AccessKeyId"]
        deployed.settle(rotations[name].name, orphan)
    previous = deployed.iam.create_access_key(UserName=rotations["used"].name)["AccessKey"]["AccessKeyId"]
    deployed.iam_front.date(previous, LONG_AGO - timedelta(days=7))
    deployed.use_key(previous, datetime.now(UTC) - timedelta(hours=1), service="dynamodb")

    held, hook = published(rotations["mirrored"]), deployed.hook
    secrets: dict[str, str] = {
        "lagging": hook.add_secret("preflight-lagging", {**held, "accessKeyId": "AKIAOLD"}),
        "empty": hook.add_secret("preflight-empty"),
        "detached": hook.secrets.create_secret(Name="mirror/preflight-detached", SecretString=json.dumps(held))["ARN"],
        "plain": hook.secrets.create_secret(Name="mirror/preflight-plain", SecretString="as it was")["ARN"],
        "off": hook.add_secret("preflight-off", held),
        "foreign": hook.secrets.create_secret(Name="elsewhere/preflight", SecretString=json.dumps(held))["ARN"],
        "in-step": hook.add_secret("preflight-in-step", held),
    }
    hook.rotations.attach(secrets["plain"], hook.function_name)
    hook.rotations.cancel(secrets["off"])
    deployed.stack.put_map(
        {
            "triggers": {
                "empty": {"project": EMPTY_PROJECT},  # fails as a whole, before all others
                "weekly": [
                    *(
                        ids[name]
                        for name in ("fine", "itself", "orphan", "orphan-soon", "used", "elsewhere", "database")
                    ),
                    UNKNOWN,
                    {"id": ids["slug"], "type": "nope"},
                    {"id": ids["interval"], "minimumInterval": "8 days"},
                    {"id": ids["grace"], "keyGuard": {"gracePeriod": "7 days"}},
                    {"id": ids["age"], "maximumAge": "7 days"},
                ],
                "by/hand": {"id": ids["unlimited"], "minimumInterval": "8 days", "maximumAge": "1 day"},
            },
            "mirrors": dict.fromkeys(secrets.values(), ids["mirrored"]),
        }
    )
    return Wrong(preflight(deployed), rotations, secrets)


def test_preflight_exits_with_an_error_if_it_finds_a_problem(wrong: Wrong) -> None:
    assert (wrong.run.status, wrong.run.errors) == (1, "")
    count = len(wrong.run.problems("✗"))
    assert f"{count} problems found. Fix them, then run preflight again." in wrong.run.lines
    assert all(". Next: " in line for line in wrong.run.problems("✗"))


@pytest.mark.parametrize(
    ("name", "told", "step"),
    [
        ("itself", "auto-rotation is on in Infisical", "auto-rotation off"),
        ("orphan", "refused now (OrphanKey): the IAM user preflight-orphan has", "docs/runbook.md#orphankey"),
        ("orphan-soon", "refused once it is due (OrphanKey)", "docs/runbook.md#orphankey"),
        ("used", "refused now (KeyInUse): the access key", "docs/runbook.md#keyinuse"),
        ("elsewhere", "refused now (KeysUnreadable): ", "docs/runbook.md#keysunreadable"),
        ("interval", "minimum interval of 8 d is too close to the schedule's period of 7 d", "lower minimumInterval"),
        ("grace", "grace period of 7 d is too close to the schedule's period of 7 d", "lower gracePeriod"),
        ("age", "maximum age of 7 d is not above the schedule's period of 7 d", "raise maximumAge"),
    ],
)
def test_preflight_reports_a_rotations_problem_with_the_next_step(
    wrong: Wrong, name: str, told: str, step: str
) -> None:
    (line,) = wrong.run.problems(f"✗ weekly: preflight-{name}: ")

    assert told in line
    assert step in line.partition(". Next: ")[2]


@pytest.mark.parametrize(
    ("rotation_id", "told", "step"),
    [
        ("database", "it cannot be read (BadRequest): ", "correct the type"),
        ("slug", "it cannot be read (UnknownRoute): ", "docs/runbook.md#rotationfailed"),
        (UNKNOWN, "it cannot be read (NotFound): ", "correct the id"),
    ],
)
def test_preflight_reports_an_unreadable_rotation_by_its_id(
    wrong: Wrong, rotation_id: str, told: str, step: str
) -> None:
    rotation = wrong.rotations.get(rotation_id)

    (line,) = wrong.run.problems(f"weekly: {rotation.id if rotation else rotation_id}: ")

    assert told in line
    assert step in line.partition(". Next: ")[2]


@pytest.mark.parametrize("name", ["fine", "unlimited"])
def test_preflight_reports_healthy_rotations_beside_problems(wrong: Wrong, name: str) -> None:
    """No schedule of the stack names the other trigger, so that nothing there is compared with a period."""
    assert any(line.split()[:2] == ["✓", f"preflight-{name}"] for line in wrong.run.lines)
    assert wrong.run.problems(f"✗ weekly: preflight-{name}") + wrong.run.problems(f"✗ by/hand: preflight-{name}") == []


def test_an_empty_trigger_is_reported_and_the_others_are_asked(wrong: Wrong) -> None:
    (line,) = wrong.run.problems("✗ empty: ")

    assert "the dry run failed (" in line  # the embedded AWS does not tell the error's type
    assert EMPTY_PROJECT in line
    assert "correct the rotation map" in line
    assert wrong.run.problems("✗ weekly: ")


@pytest.mark.parametrize(
    ("name", "told", "step"),
    [
        ("lagging", "it holds another key than Infisical publishes", "aws secretsmanager rotate-secret --secret-id"),
        ("empty", "it holds no value yet", "aws secretsmanager rotate-secret --secret-id"),
        ("detached", "no function rotates the secret", "--rotation-lambda-arn arn:aws:lambda:"),
        ("plain", "its value is not a JSON object", "aws secretsmanager put-secret-value"),
        ("off", "its rotation is switched off", "aws secretsmanager rotate-secret --secret-id"),
        ("foreign", "the hook cannot read the secret (AccessDeniedException): ", "MirroredSecretArns"),
    ],
)
def test_preflight_reports_a_mirrors_problem_with_the_next_step(wrong: Wrong, name: str, told: str, step: str) -> None:
    subject = "✗ elsewhere/preflight: " if name == "foreign" else f"✗ mirror/preflight-{name}: "

    (line,) = wrong.run.problems(subject)

    assert told in line
    assert step in line.partition(". Next: ")[2]
    assert name == "foreign" or wrong.secrets[name] in line


def test_a_mirror_in_step_is_reported_beside_rotations(wrong: Wrong) -> None:
    assert ["mirror/preflight-in-step", "mirror:", "in", "step"] in [line.split() for line in wrong.run.lines]
    assert wrong.run.problems("preflight-in-step") == []


def test_preflight_rotates_nothing_and_prints_no_secret(deployed: Sandbox, wrong: Wrong) -> None:
    assert {posts_for(deployed, rotation) for rotation in wrong.rotations.values()} == {0}
    assert deployed.hook.value(wrong.secrets["lagging"])["accessKeyId"] == "AKIAOLD"
    told = "\n".join(wrong.run.lines) + deployed.stack.raw_logs()
    assert [secret for secret in deployed.infisical.secrets if secret in told] == []


@contextmanager
def not_let_in(deployed: Sandbox, *roles: str) -> Iterator[None]:
    """The machine identities do not allow these roles."""
    identities = (deployed.identity, deployed.hook_identity)
    allowed = [identity.allowed_principals for identity in identities]
    try:
        for identity, principals in zip(identities, allowed, strict=True):
            identity.allowed_principals = [SOMEBODY_ELSE, *(set(principals or ()) - set(roles))]
        _restart(deployed)
        yield
    finally:
        for identity, principals in zip(identities, allowed, strict=True):
            identity.allowed_principals = principals
        _restart(deployed)


def _restart(deployed: Sandbox) -> None:
    """Forget tokens, and refusals."""
    for function in ("DispatchFunction", "RotateFunction", "HookFunction", "AuditFunction"):
        deployed.stack.restart(function)


def test_preflight_reports_a_refused_login_with_the_role_to_allow(deployed: Sandbox, new_rotation: NewRotation) -> None:
    mirrored, *rotations = (new_rotation(is_auto_rotation_enabled=False) for _ in range(4))
    ids, secret = [each.id for each in rotations], deployed.hook.add_secret(mirrored.name, published(mirrored))
    deployed.stack.put_map({"triggers": {"weekly": ids}, "mirrors": {secret: mirrored.id}})

    roles = [deployed.stack.outputs[f"{function}RoleArn"] for function in ("Dispatch", "Rotate", "Hook", "Audit")]

    with not_let_in(deployed, *roles):
        run = preflight(deployed)

    assert run.status == 1
    told = {role: run.problems(f"allow {role} as a principal") for role in roles}
    assert {role: len(lines) for role, lines in told.items()} == dict.fromkeys(roles, 1)
    assert all(each in told[roles[0]][0] for each in ids), "told once for all of them"
    assert len(run.problems("LoginRefused")) == len(roles)
    assert preflight(deployed).status == 0


def test_preflight_reports_that_only_rotate_is_refused(deployed: Sandbox, new_rotation: NewRotation) -> None:
    rotation, role = new_rotation(is_auto_rotation_enabled=False), deployed.stack.outputs["RotateRoleArn"]
    deployed.stack.put_map({"triggers": {"weekly": rotation.id}})

    with not_let_in(deployed, role):
        run = preflight(deployed)

    assert run.status == 1
    assert run.problems("") == run.problems("rotate: it cannot be read (LoginRefused)")
    assert run.problems(f"Next: allow {role} as a principal")
    assert posts_for(deployed, rotation) == 0


# ---- the map and the schedule ----------------------------------------------------------------------------------------


def test_a_missing_map_is_reported_with_the_command_that_creates_it(deployed: Sandbox) -> None:
    name = deployed.stack.outputs["RotationMapParameterName"]
    deployed.stack.put_map({"triggers": {}})
    deployed.stack.aws.client("ssm").delete_parameter(Name=name)

    run = preflight(deployed)

    assert run.status == 1
    (line,) = run.problems("✗ the rotation map: there is no rotation map in the SSM parameter")
    assert f"aws ssm put-parameter --name {name} " in line


@pytest.mark.parametrize(
    ("rotation_map", "told"),
    [
        ('{"triggers": {"weekly": "payments"}}', "triggers.weekly"),
        ("{", "not valid JSON"),
        ('{"triggers": {}}', "it has no trigger and no mirror"),
    ],
)
def test_an_invalid_map_is_reported(deployed: Sandbox, rotation_map: str, told: str) -> None:
    deployed.stack.put_map(rotation_map)

    run = preflight(deployed)

    assert run.status == 1
    (line,) = run.problems("✗ the rotation map: ")
    assert told in line


@contextmanager
def scheduled(deployed: Sandbox, **fields: str) -> Iterator[None]:
    """The stack's schedule as if it had been deployed otherwise."""
    scheduler, outputs = deployed.stack.scheduler, deployed.stack.outputs
    name: Any = {"GroupName": outputs["ScheduleGroupName"], "Name": outputs["ScheduleName"]}
    names = ("ScheduleExpression", "ScheduleExpressionTimezone", "State", "FlexibleTimeWindow", "Target")
    before: dict[str, Any] = {key: value for key, value in scheduler.get_schedule(**name).items() if key in names}
    scheduler.update_schedule(**name, **{**before, **fields})
    try:
        yield
    finally:
        scheduler.update_schedule(**name, **before)


def test_a_schedule_with_an_unmapped_trigger_is_reported(deployed: Sandbox, new_rotation: NewRotation) -> None:
    rotation = new_rotation(is_auto_rotation_enabled=False)
    deployed.stack.put_map({"triggers": {"daily": rotation.id}})

    with scheduled(deployed, ScheduleExpression="rate(36 hours)", State="ENABLED"):
        run = preflight(deployed)

    assert run.status == 1
    assert run.lines[0] == "Schedule: trigger weekly, rate(36 hours) in UTC, at least 36 h apart. It is on."
    (line,) = run.problems("✗ ")
    assert "it has no trigger weekly, which the schedule uses; its triggers: daily. Next: " in line


# ---- who cannot ask --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["nobody-has-deployed-me", "aws-sam-cli-managed-default"])
def test_a_missing_or_foreign_stack_is_reported(deployed: Sandbox, stack: str) -> None:
    run = preflight(deployed, stack=stack)

    assert (run.status, run.lines) == (2, [])
    assert stack in run.errors


STATEMENTS = {
    "cloudformation:DescribeStacks": "*",
    "scheduler:GetSchedule": "*",
    "ssm:GetParameter": "arn:aws:ssm:*:*:parameter/infisical-rotation/map",
    "lambda:InvokeFunction": "arn:aws:lambda:*:*:function:sandbox-DispatchFunction-*",
}
# Without these it says that it does not know whether somebody hears the alarms.
TOPIC_STATEMENTS = dict.fromkeys(
    ("sns:ListSubscriptionsByTopic", "sns:GetTopicAttributes"), "arn:aws:sns:*:*:sandbox-*"
)
EVERY_FUNCTION = "arn:aws:lambda:*:*:function:sandbox-*"


def test_preflight_needs_exactly_its_documented_permissions(deployed: Sandbox, new_rotation: NewRotation) -> None:
    deployed.stack.put_map({"triggers": {"weekly": new_rotation(is_auto_rotation_enabled=False).id}})
    deployed.stack.iam.create_user(UserName="preflight")
    key = deployed.stack.iam.create_access_key(UserName="preflight")["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def allow(allowed: Mapping[str, str]) -> None:
        statements = [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in allowed.items()]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        deployed.stack.iam.put_user_policy(UserName="preflight", PolicyName="ask", PolicyDocument=policy)

    allow({**STATEMENTS, **TOPIC_STATEMENTS, "lambda:InvokeFunction": EVERY_FUNCTION})
    whole = preflight(deployed, credentials=credentials)
    assert (whole.status, whole.lines[-1]) == (0, "Not checked: whether the machine identity may rotate.")
    allow({**STATEMENTS, **TOPIC_STATEMENTS})
    partly = preflight(deployed, credentials=credentials)
    assert partly.status == 0
    assert partly.lines[-1].startswith("Not checked: whether rotate and audit can log in to Infisical")
    for missing in STATEMENTS:
        allow({action: on for action, on in STATEMENTS.items() if action != missing})
        run = preflight(deployed, credentials=credentials)
        assert (run.status, run.lines) == (2, [])
        assert missing in run.errors
    for missing in TOPIC_STATEMENTS:
        allow({action: on for action, on in {**STATEMENTS, **TOPIC_STATEMENTS}.items() if action != missing})
        run = preflight(deployed, credentials=credentials)
        assert run.status == 1
        (line,) = run.problems("✗ the alarms: the topic that receives them cannot be read")
        assert missing in line
