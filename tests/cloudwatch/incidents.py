"""The list of faults: what is done to the application, and what a person hears of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from botocore.exceptions import ClientError

from tests.cloudwatch.application import FAILED, HOUR, MESSAGES, UNDELIVERED, Application
from tests.cloudwatch.evaluation import Alarm, State, Transition, transitions
from tests.cloudwatch.template import STACK, alarms
from tests.component.hook_stage import stage
from tests.sandbox.standin.faults import Dies, Fails, Point

DAY = 24 * HOUR
CREATED = 17
# When a fault begins: after a healthy day, just after an audit, or just before the next one.
AT, JUST_BEFORE_AN_AUDIT = CREATED + DAY + 5, CREATED + DAY + 6 * HOUR - 5
UNTIL = AT + 62 * HOUR  # 37 h until the latest first message, a day of messages, and an hour
# What AWS does not say: how many data points CloudWatch retrieves beside those that it evaluates. In its example, two.
BEYOND = (0, 2)
UNKNOWN = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"

Cause = Callable[[Application], object]


@dataclass(frozen=True, eq=False)
class Incident:
    """`hears` are the alarms that write within a day, in order; `within` is when the first one has to, in minutes.

    `reason` says why more than one message is right.
    """

    fault: str
    cause: Cause
    hears: Sequence[str]
    within: int
    reason: str = ""
    hook: bool = False


@dataclass(frozen=True)
class Heard:
    """What a person heard of an incident, by one assumption about CloudWatch."""

    changes: Sequence[Transition] = field(repr=False)

    @property
    def pages(self) -> list[Transition]:
        return sorted((each for each in self.changes if each.actions), key=lambda each: each.minute)

    @property
    def of_a_day(self) -> list[Transition]:
        """Those of the 24 hours that begin with the first one."""
        return [each for each in self.pages if each.minute < self.pages[0].minute + DAY]

    def returns_to_ok(self, alarm: str) -> int:
        """The minute at which an alarm is OK for good."""
        *_, last = [each for each in self.changes if each.alarm == alarm]
        assert last.state is State.OK
        return last.minute


@cache
def deployed_alarms() -> tuple[Alarm, ...]:
    return tuple(alarms())


def listen(application: Application, beyond: int, watching: Sequence[Alarm]) -> Heard:
    """Evaluate alarms over all that the application emitted."""
    found = [
        change
        for alarm in watching
        for change in transitions(
            alarm, application.metrics, created=application.created, until=application.minute, beyond=beyond
        )
    ]
    return Heard(found)


@cache
def run(incident: Incident, at: int) -> Application:
    """Cause an incident after a healthy day."""
    application = Application(stage() if incident.hook else None, CREATED)
    application.at(at, lambda: incident.cause(application))
    application.run(UNTIL)
    return application


# ---- causes ----------------------------------------------------------------------------------------------------------


def attempts(*faults: Dies | Fails, guarded: bool = True) -> Cause:
    """A trigger occurs, and the attempts end so."""

    def cause(application: Application) -> None:
        rotation = application.world.rotation
        application.world.server.faults.add(rotation.id, *faults)
        application.triggers["weekly"] = rotation.id if guarded else {"id": rotation.id, "keyGuard": False}
        application.trigger()

    return cause


def refused(application: Application) -> None:
    """The IAM user has a key that Infisical does not know."""
    if len(application.world.valid_keys) == 1:
        application.world.keys.create_access_key("deployer")
    application.at(
        application.minute + HOUR, application.trigger
    )  # it is not taken for one of a lagging replica any more


def of_trigger(entry: object) -> Cause:
    def cause(application: Application) -> None:
        application.triggers["weekly"] = entry
        application.trigger()

    return cause


def unmapped(application: Application, *, times: int = 1, keeps: bool = True) -> None:
    application.keeps = keeps
    for number in range(times):
        application.at(application.minute + number * HOUR, partial(application.trigger, "nobody-knows-me"))


def no_bus(application: Application) -> None:
    gone = ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no such bus"}}, "PutEvents")
    application.bus.errors = [gone] * 10
    application.trigger()


def cut(application: Application) -> None:
    application.network.is_cut = True
    application.trigger()


def stopped(application: Application, *, throttled: bool = False, kills: bool = False) -> None:
    application.kills = kills
    application.is_stopped = not kills
    application.throttled = {"Rotate"} if throttled else set()
    application.trigger()


def wrong_map(application: Application) -> None:
    application.text = "{"
    application.trigger()


def lost(application: Application, namespace: str, metric: str, **dimensions: str) -> None:
    application.emit(namespace, metric, 1, **dimensions)


def hook_fails(application: Application) -> None:
    """Every step fails, and Secrets Manager tries again each hour; AWS publishes no number."""
    assert application.hook
    for user_key in list(application.world.valid_keys):
        application.world.keys.delete_access_key("deployer", user_key)
    token = application.hook.secrets.begin()
    for number in range(24):
        application.at(application.minute + number * HOUR, partial(application.rotate_secret, token))


def changed_by_hand(application: Application) -> None:
    assert application.hook
    secrets = application.hook.secrets
    (version,) = secrets.values
    secrets.values[version] = '{"accessKeyId": "AKIA0000000000000000", "secretAccessKey": "by hand"}'


def overdue(application: Application) -> None:
    application.triggers["weekly"] = {"id": application.world.rotation.id, "maximumAge": "7 days"}


def auto_rotation(application: Application) -> None:
    application.world.rotation.is_auto_rotation_enabled = True


def shared(application: Application) -> None:
    other = application.world.server.add_rotation(user_name="deployer", is_auto_rotation_enabled=False)
    application.triggers["weekly"] = [application.world.rotation.id, other.id]


def deactivated(application: Application) -> None:
    application.world.iam.inactive.add(application.world.published_key)


def each_day(application: Application, run: Callable[[Application], object]) -> None:
    """What the function retire, which runs once a day, finds on three days."""
    for day in range(3):
        application.at(application.minute + 1 + day * DAY, partial(run, application))


def previous_key_in_use(application: Application) -> None:
    emit = partial(application.emit, "InfisicalRotation", "PreviousKeyInUse", service=STACK)
    each_day(application, lambda _: emit(1))


def not_retired(application: Application) -> None:
    def run(_: Application) -> None:
        for minutes in (0, 1, 3):  # Lambda retries twice
            application.at(application.minute + minutes, partial(application.fails, "Retire"))

    each_day(application, run)


def unreadable(application: Application) -> None:
    application.triggers["monthly"] = UNKNOWN


def unscheduled(application: Application) -> None:
    application.audits = False


ATTEMPT = 10  # minutes: an attempt is watched for three
RETIRED = 90  # from the daily run: a period of an hour, and CloudWatch's delay
DISPATCHED = 10  # three attempts of dispatch, within three minutes
AUDITED = 6 * HOUR + 10
SILENT = 37 * HOUR

INCIDENTS = (
    Incident(
        "a rotation fails again and again, with key guard",
        attempts(*[Fails(Point.BEFORE)] * 60),
        ["RotationFailed", "OldestRequest"],
        ATTEMPT,
        "two hours of retries did not help",
    ),
    Incident(
        "a rotation fails, without key guard", attempts(Fails(Point.BEFORE), guarded=False), ["RotationFailed"], ATTEMPT
    ),
    Incident(
        "a failed attempt leaves a key behind",
        attempts(Fails(Point.AFTER_CREATE)),
        ["RotationFailed", "RotationRefused"],
        ATTEMPT,
        "it was retried, and a person has to look now",
    ),
    Incident("the key guard refuses a rotation", refused, ["RotationRefused"], HOUR + ATTEMPT),
    Incident(
        "Infisical does not answer, with key guard", attempts(Dies(Point.BEFORE)), ["RotationUnconfirmed"], ATTEMPT
    ),
    Incident(
        "Infisical does not answer, without key guard",
        attempts(Dies(Point.BEFORE), guarded=False),
        ["RotationUnconfirmed"],
        20,
    ),
    Incident("the map names a rotation that does not exist", of_trigger(UNKNOWN), ["RotationFailed"], ATTEMPT),
    Incident(
        "Infisical is out of reach for two days",
        cut,
        ["OldestRequest", "RotationFailed"],
        2 * HOUR + 30,
        "the request waits; after 12 hours it fails",
    ),
    Incident(
        "rotate is killed each time",
        partial(stopped, kills=True),
        ["FunctionErrors"],
        ATTEMPT,
    ),
    Incident("nothing invokes rotate", stopped, ["OldestRequest"], 2 * HOUR + 10),
    Incident(
        "Lambda throttles rotate",
        partial(stopped, throttled=True),
        ["FunctionThrottles", "OldestRequest"],
        30,
        "the cause, and a request that waits",
    ),
    Incident("the bus of outcome events was deleted", no_bus, ["OutcomeEventsFailed"], ATTEMPT),
    Incident(
        "the alarm topic does not accept the message about a failure",
        lambda application: application.arrives(MESSAGES),
        ["UndeliveredMessages"],
        DISPATCHED,
    ),
    Incident("a trigger is not in the map", unmapped, ["UndeliveredTriggers"], DISPATCHED),
    Incident("an hourly trigger is not in the map", partial(unmapped, times=48), ["UndeliveredTriggers"], DISPATCHED),
    Incident(
        "the map is not valid",
        wrong_map,
        ["UndeliveredTriggers", "FunctionErrors"],
        DISPATCHED,
        "the trigger to replay, and the audit that failed",
    ),
    Incident(
        "a schedule or rule could not invoke dispatch, and gave up (after 6 hours at most)",
        lambda application: application.arrives(UNDELIVERED),
        ["UndeliveredTriggers"],
        DISPATCHED,
    ),
    Incident(
        "UndeliveredTriggers does not accept what dispatch refuses",
        partial(unmapped, keeps=False),
        ["TriggerLost"],
        DISPATCHED,
    ),
    Incident(
        "UndeliveredTriggers does not accept what a schedule could not deliver",
        partial(
            lost,
            namespace="AWS/Scheduler",
            metric="InvocationsFailedToBeSentToDeadLetterCount",
            ScheduleGroup="Schedules",
        ),
        ["TriggerLost"],
        DISPATCHED,
    ),
    *(
        Incident(
            f"UndeliveredTriggers does not accept what the rule {rule} could not deliver",
            partial(
                lost,
                namespace="AWS/Events",
                metric="InvocationsFailedToBeSentToDlq",
                RuleName=f"DispatchFunction{rule}",
            ),
            ["TriggerLost"],
            DISPATCHED,
        )
        for rule in ("CustomEvents", "SecretLabelEvents", "SecretCallEvents", "SecretRotationEvents")
    ),
    Incident(
        "SQS itself moves a request to FailedRotations.fifo",
        lambda application: application.waiting.update({FAILED: 1}),
        ["MessagesWaiting"],
        26 * HOUR,
    ),
    Incident(
        "a mirror's rotation fails again and again",
        hook_fails,
        ["HookStepFailed"],
        ATTEMPT,
        hook=True,
    ),
    Incident("somebody changes a mirror by hand", changed_by_hand, ["LaggingMirrors"], AUDITED, hook=True),
    Incident("the schedule is off, and a rotation is overdue", overdue, ["OverdueRotations"], AUDITED),
    Incident("auto-rotation is switched on in Infisical", auto_rotation, ["AutoRotation"], AUDITED),
    Incident("a second rotation has the same IAM user", shared, ["SharedUsers"], AUDITED),
    Incident("somebody deactivates the published key", deactivated, ["InactivePublishedKeys"], AUDITED),
    Incident("a consumer still uses the previous key", previous_key_in_use, ["PreviousKeyInUse"], RETIRED),
    Incident("retire may not deactivate a key", not_retired, ["RetireFailed"], RETIRED),
    Incident("the machine identity may not read a rotation any more", unreadable, ["UnreadableRotations"], SILENT),
    Incident("the audit's schedule was deleted", unscheduled, ["AuditSilent"], SILENT),
)
