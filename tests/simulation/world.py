"""The whole of it: Infisical and AWS in virtual time, the program deployed between them, and an operator."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from dispatch import Dispatch
from hook import Hook
from rotate import Rotate
from rotator.model import GuardOptions, MappedRotation, RotationOptions
from rotator.timestamps import from_epoch
from tests.component.iam import FakeIam
from tests.component.secrets_manager import ARN, FakeSecretsManager
from tests.sandbox.standin.attempts import Pace
from tests.sandbox.standin.core import SERVERS
from tests.sandbox.standin.keys import AccessKey
from tests.simulation.event_bus import EventBus
from tests.simulation.fault_injection import FaultInjector, Trace
from tests.simulation.fifo import Fifo, Message
from tests.simulation.functions import Freezing, Function, Requests, SecretRotation, Triggers
from tests.simulation.operators import Operator
from tests.simulation.oracle import Kind, Oracle, WatchedKeys, WatchedServer
from tests.simulation.ports import FAILED_URL, REQUESTS_URL, Port, Sqs
from tests.simulation.program import RETIRE_SECONDS, Environment, Parts, Program
from tests.simulation.report_checker import ReportChecker
from tests.simulation.scheduler import Scheduler

DAY = 86_400.0
DISPATCH_SECONDS, ROTATE_SECONDS, HOOK_SECONDS = 60, 900, 300

WEEKLY, HOURLY = "weekly", "hourly"
PROJECT = "d17eeab6-9bb7-4255-9168-ccac2028bfd4"
ROLE = "arn:aws:iam::210987654321:role/key-guard"
INTERVALS = {"5 minutes": 300.0, "1 hour": 3600.0, "6 hours": 21_600.0}


@dataclass(frozen=True)
class Setting:
    """What does not change during a schedule.

    Each rotation has a kind and an interval, the one that the secret mirrors too, where there is one. `selector`: the
    map has no ids, and the selector covers the mirrored rotation. `role`: the key guard assumes one. A clock is so many
    seconds ahead of AWS's; each of the replicas is so many seconds behind.
    """

    rotations: Sequence[tuple[Kind, str]]
    mirrored: tuple[Kind, str] | None
    selector: bool
    role: bool
    replicas_behind: Sequence[float]
    freezing: Freezing
    infisical_ahead: float
    iam_ahead: float
    pace: Pace
    closes_after_seconds: float
    new_keys_work_after_seconds: float
    secret_is_retried_after: Sequence[float]


@dataclass(frozen=True)
class ServerClock:
    """Infisical's own."""

    scheduler: Scheduler
    ahead: float

    def time(self) -> float:
        return self.scheduler.now + self.ahead

    def sleep(self, seconds: float, /) -> None:
        self.scheduler.sleep(seconds)


class World:
    """`weekly` stands for all rotations, `hourly` for the first; the secret mirrors one that no trigger rotates."""

    def __init__(self, start: float, random: Random, setting: Setting, parts: Parts) -> None:
        self.scheduler = Scheduler(start)
        self._listing = Random(str(setting))  # noqa: S311 - no secret
        self.trace = Trace(self.scheduler)
        self.injector = FaultInjector(random, self.scheduler, self.trace)
        self._build_infisical(setting)
        self.rotations_of = {WEEKLY: self.oracle.triggered, HOURLY: [self.oracle.first.rotation.id]}
        self._deploy(setting, parts)

    def run(self, until: float) -> None:
        """Let everything happen that is due until then, and look whether all of it ended well."""
        try:
            self.scheduler.run(until)
        finally:
            self.scheduler.close()
            SERVERS.remove(self.server)  # its secrets are looked for here
        for message in self.requests.messages:
            self.checker.check_drained(message)
        self.checker.check_delivered(self.triggers.pending)
        self.checker.check_metrics()
        self.bus.check(self.oracle)
        bodies = [message.body for queue in (self.requests, self.failed) for message in queue.accepted]
        bodies += [json.dumps(detail) for details in self.bus.announced.values() for detail in details]
        self.checker.check_secrecy(self.server.secrets, bodies)

    def _build_infisical(self, setting: Setting) -> None:
        self.trace.add(
            f"ahead of AWS's clock: Infisical {setting.infisical_ahead:.1f} s, IAM {setting.iam_ahead:.1f} s;"
            f" replicas behind: {setting.replicas_behind} s; {setting.freezing}"
        )
        clock = ServerClock(self.scheduler, setting.infisical_ahead)
        self.keys = WatchedKeys(clock)
        self.server = WatchedServer(clock, self.keys, limit_seconds=setting.closes_after_seconds, pace=setting.pace)
        self.iam = FakeIam(self._keys_now)
        iam_to_infisical = setting.iam_ahead - setting.infisical_ahead
        self.iam.ahead = timedelta(seconds=iam_to_infisical)
        clocks_differ = abs(setting.infisical_ahead) + abs(iam_to_infisical)
        self.oracle = Oracle(self.scheduler, self.server, self.keys, self.trace, clocks_differ)
        self.iam.deactivated = self.oracle.on_deactivated
        self.checker = ReportChecker(self.scheduler, self.oracle, self.injector, self.trace, self.iam)
        self._lag(setting.replicas_behind)
        entries = [
            self._add_rotation(f"user-{number}", kind, interval, role=setting.role)
            for number, (kind, interval) in enumerate(setting.rotations, 1)
            for _ in range(2 if kind is Kind.SHARED else 1)
        ]
        whole = {"project": PROJECT} | {key: entries[0][key] for key in entries[0].keys() - {"id"}}
        triggers = {WEEKLY: whole if setting.selector else entries, HOURLY: entries[0]}
        mirrors = {}
        if setting.mirrored:
            mirrors[ARN] = self._add_rotation("mirrored", *setting.mirrored, role=setting.role)
            self.oracle.mirrored = self.oracle.histories[mirrors[ARN]["id"]]
        self.rotation_map = json.dumps({"triggers": triggers, "mirrors": mirrors})

    def _lag(self, replicas_behind: Sequence[float]) -> None:
        """Let each read come from any of the replicas."""
        self.oracle.lags = replicas_behind
        self.server.replicas.lag = lambda: self.injector.random.choice(replicas_behind)
        self.server.replicas.stale = lambda _, lag: self.injector.count("replica", f"behind by {_unit(lag)}")

    def _add_rotation(self, user: str, kind: Kind, interval: str, *, role: bool) -> dict[str, Any]:
        """Add a rotation, and return its entry of the rotation map."""
        rotation = self.server.add_rotation(
            rotation_id=str(UUID(int=len(self.oracle.histories) + 1)),
            user_name=user,
            project_id=PROJECT,
            last_rotated_at=from_epoch(self.server.clock.time() - 7 * DAY),
        )
        self.oracle.watch(rotation, user, kind, INTERVALS[interval])
        self.trace.add(f"{user}: {kind}, minimum interval {interval}")
        guard = {"keyGuard": False} if kind is Kind.UNGUARDED else {"keyGuard": {"role": ROLE}} if role else {}
        return {"id": rotation.id, "minimumInterval": interval} | guard

    def _deploy(self, setting: Setting, parts: Parts) -> None:
        scheduler = self.scheduler
        self.requests = Fifo(
            lambda: scheduler.now,
            visibility_seconds=parts.visibility_seconds,
            maximum_receives=parts.maximum_receives,
            exclusive=parts.exclusive_groups,
        )
        self.failed = Fifo(lambda: scheduler.now)
        self.bus = EventBus()
        mirrored = self.oracle.mirrored
        self.secrets = FakeSecretsManager(json.dumps(dict(mirrored.rotation.published)) if mirrored else None)
        self.oracle.key_in_mirror = lambda: json.loads(self.secrets.current or "{}").get("accessKeyId")
        environment = Environment(
            port=Port(scheduler, self.injector),
            server=self.server,
            keys=self.keys,
            identity=self.server.add_identity({"read", "rotate-secrets"}),
            reader=self.server.add_identity({"read", "read-generated-credentials"}),
            sqs=Sqs({REQUESTS_URL: self.requests, FAILED_URL: self.failed}),
            bus=self.bus,
            iam=self.iam,
            secrets=self.secrets,
            oracle=self.oracle,
            names={history.rotation.id: history.user for history in self.oracle.histories.values()},
            with_rivals=[
                history.rotation.id for history in self.oracle.histories.values() if history.kind is Kind.FOREIGN
            ],
            rotation_map=self.rotation_map,
            mapped=[
                MappedRotation(
                    history.rotation.id,
                    options=RotationOptions(guard=None if history.kind is Kind.UNGUARDED else GuardOptions()),
                )
                for history in self.oracle.histories.values()
            ],
            new_keys_work_after_seconds=setting.new_keys_work_after_seconds,
        )
        program = Program(parts, environment)
        deploy = partial(
            Function, scheduler=scheduler, injector=self.injector, trace=self.trace, freezing=setting.freezing
        )
        rotate: Function[Rotate] = deploy("rotate", ROTATE_SECONDS, program.rotate)
        dispatch: Function[Dispatch] = deploy("dispatch", DISPATCH_SECONDS, program.dispatch)
        hook: Function[Hook] = deploy("hook", HOOK_SECONDS, program.hook)
        self.retire: Function[Callable[[], None]] = deploy("retire", RETIRE_SECONDS, program.retire)
        self.source = Requests(scheduler, self.requests, rotate, self.injector, checker=self.checker, parts=parts)
        self.triggers = Triggers(scheduler, self.oracle, dispatch, self._accepted)
        self.secret_rotation = SecretRotation(
            scheduler, self.oracle, self.secrets, hook, setting.secret_is_retried_after, checker=self.checker
        )
        self.operator = Operator(
            scheduler,
            self.injector.random,
            self.oracle,
            self.triggers,
            WEEKLY,
            rotate_secret=self.secret_rotation.rotate,
            rotate_in_infisical=lambda history: self.server.start_rotation(history.rotation.id),
        )
        self.requests.dead_letters = self.checker.dead
        self.failed.arrived = self._reported

    def retire_keys(self) -> None:
        """Start the function `retire`, as its schedule does."""
        self.retire.invoke([lambda run, _: run()], lambda _: None)

    def _keys_now(self, user: str) -> list[AccessKey]:
        """IAM lists a user's keys in no promised order."""
        self.server.settle()
        keys = self.keys.list_access_keys(user)
        return keys if self._listing.random() < 0.5 else keys[::-1]

    def _accepted(self, event: dict[str, Any], summary: dict[str, Any]) -> None:
        expected = event.get("only") or self.rotations_of[summary["trigger"]]
        self.checker.accepted(summary, expected, self.requests.accepted)

    def _reported(self, message: Message) -> None:
        self.checker.kept.add(message.deduplication_id)
        self.operator.on_alarm(message)


def _unit(seconds: float) -> str:
    return "milliseconds" if seconds < 1 else "seconds" if seconds < 60 else "minutes"
