"""Lambda function `retire`: previous keys → those in use are reported, those that nobody uses are deactivated."""

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rotator.aws import GUARD_CONFIG, LazyClient, parameter_reader
from rotator.clock import Deadline
from rotator.dry_run.access import check_access
from rotator.dry_run.mirror import MirrorState
from rotator.dry_run.mirror_watch import MirrorWatch
from rotator.infisical.client import Infisical
from rotator.infisical.connect import connect
from rotator.lambda_init import finish
from rotator.model import RotationState
from rotator.old_keys.policy import Action
from rotator.old_keys.retirement import Report, Retirement
from rotator.outcomes.event_bridge import EventBridge
from rotator.outcomes.keys import KeyEvents
from rotator.outcomes.publisher import Event, OutcomeEvents
from rotator.rotation.consumer_lookup import ConsumerLookup
from rotator.rotation.key_guard import IamClients
from rotator.settings import MAP_SOURCE, RetireSettings
from rotator.telemetry import Metric, Telemetry
from rotator.triggers.rotation_map import RotationMap, parse_rotation_map
from rotator.triggers.selection import read_rotation_states, select_all

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from rotator.clock import Clock

CONCURRENT_ROTATIONS = 10


class RetireError(Exception):
    """Some previous keys could not be read or deactivated; the next run tries again."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Looks at the previous key of every guarded rotation. It changes no other key, and deletes none."""

    read_map: Callable[[], str]
    infisical: Infisical
    retirement: Retirement
    mirrors: MirrorWatch
    events: OutcomeEvents
    telemetry: Telemetry
    clock: "Clock"

    def handle(self, event: object, correlation_id: str, seconds: float) -> dict[str, Any]:
        """Report the keys in use, deactivate the unused ones, and return how many there were of each.

        Answers a dry run instead. Raises if the map cannot be read, and at the end if a key could not be read or
        deactivated. `seconds` is the time that is left.
        """
        if report := check_access(event, self.infisical):
            return dict(report)
        deadline = Deadline(self.clock.monotonic() + seconds, self.clock)
        self.telemetry.logger.append_keys(correlation_id=correlation_id)
        rotation_map = parse_rotation_map(self.read_map())
        watched, unreadable = select_all(rotation_map, cache(self.infisical.rotations))
        for what, why in unreadable.items():  # which the audit counts
            self.telemetry.logger.warning("rotation unreadable", entry=str(what), explanation=str(why))
        rotations = [self.retirement.most_patient(entries) for entries in watched.values()]
        states = read_rotation_states(self.infisical, rotations)
        lagging = self._lagging(rotation_map)
        process = self.retirement.begin(states, lagging, seconds, complete=not unreadable)
        with ThreadPoolExecutor(CONCURRENT_ROTATIONS) as pool:
            retired = [one for one in pool.map(process, rotations, states) if one]
        for one in retired:
            self._log(one)
        self.events.put(self._events(retired, correlation_id), deadline)
        return self._count(retired, correlation_id)

    def _lagging(self, rotation_map: RotationMap) -> set[str]:
        """The ids of the rotations whose mirror is not, or may not be, in step."""
        looks = [look for look in self.mirrors.look(rotation_map.mirrors) if look.state is not MirrorState.IN_STEP]
        for look in looks:
            self.telemetry.logger.warning(
                "mirror not in step", secret=look.secret, state=look.state, explanation=look.explanation
            )
        return {rotation_map.mirrors[look.secret].rotation.id for look in looks}

    def _log(self, report: Report) -> None:
        log = self.telemetry.logger
        fields: dict[str, Any] = report.fields()
        if report.failed:
            log.error("previous key not retired", **fields)
        elif report.action is Action.DEACTIVATE:
            log.warning("previous key deactivated", **fields)
        elif report.action is Action.WARN:
            log.warning("previous key in use", **fields)
        else:
            log.info("previous key left", **fields)

    def _events(self, reports: list[Report], correlation_id: str) -> list[Event]:
        key_events, events = KeyEvents(self.events.stack, correlation_id), []
        for report in reports:
            match report.action, report.state:
                case Action.WARN, RotationState() as state:
                    events.append(
                        key_events.previous_key_in_use(state, report.key_id, report.explanation, report.next_step)
                    )
                case Action.DEACTIVATE, RotationState() as state:
                    events.append(key_events.previous_key_deactivated(state, report.key_id, report.explanation))
        return events

    def _count(self, reports: list[Report], correlation_id: str) -> dict[str, Any]:
        ends = Counter(report.action for report in reports if not report.failed)
        failed = sum(report.failed for report in reports)
        metrics: dict[Metric, float] = {
            Metric.PREVIOUS_KEY_IN_USE: ends[Action.WARN],
            Metric.PREVIOUS_KEY_DEACTIVATED: ends[Action.DEACTIVATE],
        }
        self.telemetry.emit(metrics, correlation_id=correlation_id)
        if failed:
            raise RetireError(
                f"{failed} previous keys could not be read or deactivated. The log has 'previous key not retired' for"
                " each, with the reason; the next run tries again"
            )
        return {str(metric): value for metric, value in metrics.items()}


@cache
def compose() -> Retire:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = RetireSettings.read(os.environ)
    own_iam: Any = LazyClient("iam", GUARD_CONFIG)
    lambda_: Any = LazyClient("lambda")  # for maps with mirrors
    clients = IamClients(own_iam, time)
    name_consumers = ConsumerLookup(clients.cloudtrail, time) if settings.name_consumers else None
    telemetry = Telemetry(settings.service, settings.log_level)
    bus = EventBridge(time)
    return Retire(
        read_map=parameter_reader(settings.rotation_map_parameter, MAP_SOURCE),
        infisical=connect(settings.infisical, time),
        retirement=Retirement(clients, settings.retire_after, settings.retire_quiet, time, name_consumers),
        mirrors=MirrorWatch(lambda_, settings.hook_function, time),
        events=OutcomeEvents(
            bus, settings.outcome_event_bus_name, settings.outcome_event_source, settings.service, telemetry
        ),
        telemetry=telemetry,
        clock=time,
    )


def handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Answer one invocation."""
    return compose().handle(event, context.aws_request_id, context.get_remaining_time_in_millis() / 1000)


finish(compose)
