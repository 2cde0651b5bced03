"""The whole of it: Infisical and AWS in virtual time, the program deployed between them, and a person."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from rotator.instant import instant_at
from tests.component.iam import FakeIam
from tests.component.secrets_manager import ARN, FakeSecretsManager
from tests.sandbox.standin.attempts import Pace
from tests.sandbox.standin.core import SERVERS
from tests.sandbox.standin.keys import AccessKey
from tests.simulation.disturbances import Disturbances, Trace
from tests.simulation.edges import FAILED_URL, REQUESTS_URL, Edge, Sqs
from tests.simulation.fifo import Fifo, Message
from tests.simulation.functions import Function, Requests, SecretRotation, Triggers
from tests.simulation.ledger import Ledger
from tests.simulation.people import Person
from tests.simulation.program import AwsClock, Outside, Parts, Program
from tests.simulation.truth import Keys, Kind, Server, Truth
from tests.simulation.turns import Turns

DAY = 86_400.0
DISPATCH_SECONDS, ROTATE_SECONDS, HOOK_SECONDS = 60, 180, 300

WEEKLY, HOURLY = "weekly", "hourly"
PROJECT = "d17eeab6-9bb7-4255-9168-ccac2028bfd4"
INTERVALS = {"5 minutes": 300.0, "1 hour": 3600.0, "6 hours": 21_600.0}


@dataclass(frozen=True)
class Setting:
    """What does not change during a schedule.

    Each rotation has a kind and an interval. A clock is so many seconds ahead of AWS's. `selector`: the map has no ids.
    """

    rotations: Sequence[tuple[Kind, str]]
    selector: bool
    infisical_ahead: float
    iam_ahead: float
    pace: Pace
    closes_after_seconds: float
    new_keys_work_after_seconds: float
    secret_is_retried_after: Sequence[float]


@dataclass(frozen=True)
class ServerClock:
    """Infisical's own."""

    turns: Turns
    ahead: float

    def time(self) -> float:
        return self.turns.now + self.ahead

    def sleep(self, seconds: float, /) -> None:
        self.turns.sleep(seconds)


class World:
    """`weekly` stands for all rotations, `hourly` for the first, and the secret mirrors that one."""

    def __init__(self, start: float, random: Random, setting: Setting, parts: Parts) -> None:
        self.turns = Turns(start)
        self.trace = Trace(self.turns)
        self.disturbances = Disturbances(random, self.turns, self.trace)
        self._build_infisical(setting)
        self.rotations_of = {WEEKLY: list(self.truth.histories), HOURLY: [self.truth.first.rotation.id]}
        self._deploy(setting, parts)

    def run(self, until: float) -> None:
        """Let everything happen that is due until then, and look whether all of it ended well."""
        try:
            self.turns.run(until)
        finally:
            self.turns.close()
            SERVERS.remove(self.server)  # its secrets are looked for here
        for message in self.requests.messages:
            self.ledger.check_drained(message)
        self.ledger.check_delivered(self.triggers.pending)
        self.ledger.check_metrics()
        bodies = [message.body for queue in (self.requests, self.failed) for message in queue.accepted]
        self.ledger.check_secrecy(self.server.secrets, bodies)

    def _build_infisical(self, setting: Setting) -> None:
        self.trace.add(
            f"ahead of AWS's clock: Infisical {setting.infisical_ahead:.1f} s, IAM {setting.iam_ahead:.1f} s"
        )
        clock = ServerClock(self.turns, setting.infisical_ahead)
        self.keys = Keys(clock)
        self.server = Server(clock, self.keys, limit_seconds=setting.closes_after_seconds, pace=setting.pace)
        self.iam = FakeIam(self._keys_now)
        iam_to_infisical = setting.iam_ahead - setting.infisical_ahead
        self.iam.ahead = timedelta(seconds=iam_to_infisical)
        clocks_differ = abs(setting.infisical_ahead) + abs(iam_to_infisical)
        self.truth = Truth(self.turns, self.server, self.keys, self.trace, clocks_differ)
        self.ledger = Ledger(self.turns, self.truth, self.disturbances, self.trace, self.iam)
        entries = []
        for number, (kind, interval) in enumerate(setting.rotations, 1):
            rotation = self.server.add_rotation(
                rotation_id=str(UUID(int=number)),
                user_name=f"user-{number}",
                project_id=PROJECT,
                last_rotated_at=instant_at(clock.time() - 7 * DAY),
            )
            self.truth.watch(rotation, f"user-{number}", kind, INTERVALS[interval])
            self.trace.add(f"user-{number}: {kind}, minimum interval {interval}")
            entries.append({"id": rotation.id, "minimumInterval": interval} | _guard(kind))
        mirror = {"id": entries[0]["id"]} | _guard(self.truth.first.kind)
        whole = {"project": PROJECT} | {key: entries[0][key] for key in entries[0].keys() - {"id"}}
        triggers = {WEEKLY: whole if setting.selector else entries, HOURLY: entries[0]}
        self.rotation_map = json.dumps({"triggers": triggers, "mirrors": {ARN: mirror}})

    def _deploy(self, setting: Setting, parts: Parts) -> None:
        turns, trace, clock = self.turns, self.trace, AwsClock(self.turns)
        self.requests = Fifo(clock.time, visibility_seconds=parts.visibility_seconds, exclusive=parts.exclusive_groups)
        self.failed = Fifo(clock.time)
        self.secrets = FakeSecretsManager(json.dumps(dict(self.truth.first.rotation.published)))
        outside = Outside(
            clock=clock,
            edge=Edge(turns, self.disturbances),
            server=self.server,
            keys=self.keys,
            identity=self.server.add_identity({"read", "rotate-secrets"}),
            reader=self.server.add_identity({"read", "read-generated-credentials"}),
            sqs=Sqs({REQUESTS_URL: self.requests, FAILED_URL: self.failed}),
            iam=self.iam,
            secrets=self.secrets,
            truth=self.truth,
            names={history.rotation.id: history.user for history in self.truth.histories.values()},
            with_rivals=[
                history.rotation.id for history in self.truth.histories.values() if history.kind is Kind.FOREIGN
            ],
            rotation_map=self.rotation_map,
            new_keys_work_after_seconds=setting.new_keys_work_after_seconds,
        )
        program = Program(parts, outside)
        rotate = Function(turns, trace, "rotate", ROTATE_SECONDS, program.rotate)
        dispatch = Function(turns, trace, "dispatch", DISPATCH_SECONDS, program.dispatch)
        hook = Function(turns, trace, "hook", HOOK_SECONDS, program.hook)
        self.source = Requests(turns, self.requests, rotate, self.disturbances, ledger=self.ledger, parts=parts)
        self.triggers = Triggers(turns, self.truth, dispatch, self._accepted)
        self.secret_rotation = SecretRotation(
            turns, self.truth, self.secrets, hook, setting.secret_is_retried_after, ledger=self.ledger
        )
        self.person = Person(turns, self.disturbances.random, self.truth, self.triggers, WEEKLY)
        self.requests.dead_letters = self.ledger.dead
        self.failed.arrived = self._reported

    def _keys_now(self, user: str) -> list[AccessKey]:
        self.server.settle()
        return self.keys.list_access_keys(user)

    def _accepted(self, event: dict[str, Any], summary: dict[str, Any]) -> None:
        expected = event.get("only") or self.rotations_of[summary["trigger"]]
        self.ledger.accepted(summary, expected, self.requests.accepted)

    def _reported(self, message: Message) -> None:
        self.ledger.kept.add(message.deduplication_id)
        self.person.hear(message)


def _guard(kind: Kind) -> dict[str, Any]:
    return {"keyGuard": False} if kind is Kind.UNGUARDED else {}
