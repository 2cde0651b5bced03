"""Lambda function `audit`: the rotation map → which rotations are overdue or failed, and which mirrors lag."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rotator.aws import GUARD_CONFIG, LazyClient, parameter_reader
from rotator.clock import Deadline
from rotator.dry_run.access import check_access
from rotator.dry_run.findings import RotationHealth, check, summarize
from rotator.dry_run.key_watch import KeyWatch
from rotator.dry_run.mirror import MirrorState
from rotator.dry_run.mirror_watch import MirrorLook, MirrorWatch
from rotator.infisical.client import Infisical
from rotator.infisical.connect import connect
from rotator.infisical.errors import InfisicalError, reason_of
from rotator.lambda_init import finish
from rotator.model import RotationState
from rotator.outcomes.event_bridge import EventBridge
from rotator.outcomes.keys import KeyEvents
from rotator.outcomes.others import needs_attention
from rotator.outcomes.publisher import Event, OutcomeEvents
from rotator.rotation.key_guard import IamClients
from rotator.rotation.key_policy import UserKeys, reactivate
from rotator.settings import MAP_SOURCE, AuditSettings
from rotator.telemetry import Telemetry
from rotator.timestamps import format_timestamp, from_epoch
from rotator.triggers.rotation_map import RotationMap, parse_rotation_map
from rotator.triggers.selection import SelectedRotation, read_rotation_states, select_all

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from rotator.clock import Clock


# Everything else is done by then. Where EventBridge is out of reach, the audit ends all the same.
EVENTS_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Audit:
    """Checks every rotation, changes none, and reports those that need attention."""

    read_map: Callable[[], str]
    infisical: Infisical
    maximum_age: "timedelta"
    keys: KeyWatch
    mirrors: MirrorWatch
    events: OutcomeEvents
    telemetry: Telemetry
    clock: "Clock"

    def handle(self, event: object, correlation_id: str) -> dict[str, Any]:
        """Emit the metrics of all rotations, log one line for each that needs attention, and return the metrics.

        Answers a dry run instead. Any other event starts the same audit. Raises if the map cannot be read. Rotations
        that cannot be read are counted.
        """
        if report := check_access(event, self.infisical):
            return dict(report)
        self.telemetry.logger.append_keys(correlation_id=correlation_id)
        try:
            rotation_map = parse_rotation_map(self.read_map())
        except Exception as error:
            # Lambda logs the traceback.
            self.telemetry.logger.error("audit failed", reason=reason_of(error), explanation=str(error))  # noqa: TRY400
            raise
        watched, unreadable = self._watched(rotation_map)
        readable: list[tuple[SelectedRotation, RotationState]] = []
        for selected, state in zip(watched, read_rotation_states(self.infisical, watched), strict=True):
            if isinstance(state, InfisicalError):
                unreadable += 1
                self._warn_unreadable(selected.rotation.id, state)
            else:
                readable.append((selected, state))
        keys, hidden = self._keys(readable)
        unreadable += hidden
        limits = [(state, self._limit(selected)) for selected, state in readable]
        now = from_epoch(self.clock.time())
        checked = check(limits, now, keys)
        remarkable = [rotation for rotation in checked if rotation.issues]
        for rotation in remarkable:
            self._warn(rotation)
        looks = self.mirrors.look(rotation_map.mirrors)
        for look in looks:
            self._report_mirror(look)
        unreadable += sum(look.state is MirrorState.UNKNOWN for look in looks)
        metrics = summarize(checked, unreadable, lagging_mirrors=sum(look.lags for look in looks))
        self.telemetry.emit(metrics, correlation_id=correlation_id)
        deadline = Deadline(self.clock.monotonic() + EVENTS_SECONDS, self.clock)
        self.events.put(self._events(remarkable, now, correlation_id), deadline)
        return {str(metric): value for metric, value in metrics.items()}

    def _watched(self, rotation_map: RotationMap) -> tuple[list[SelectedRotation], int]:
        """Each rotation once, with the strictest of its limits; and how many entries could not be read."""
        selected, unreadable = select_all(rotation_map, cache(self.infisical.rotations))
        for what, why in unreadable.items():
            self._warn_unreadable(str(what), why)
        return [min(entries, key=self._limit) for entries in selected.values()], len(unreadable)

    def _keys(self, readable: list[tuple[SelectedRotation, RotationState]]) -> tuple[dict[str, UserKeys], int]:
        """The access keys of each rotation by its id, and for how many rotations IAM did not return them."""
        look = self.keys.look([(selected.rotation, state) for selected, state in readable])
        for rotation_id, why in look.hidden.items():
            self.telemetry.logger.warning("keys unreadable", rotation_id=rotation_id, explanation=why)
        if look.left_for_later:
            self.telemetry.logger.info("keys left for a later audit", rotations=look.left_for_later)
        return look.keys, len(look.hidden)

    def _limit(self, selected: SelectedRotation) -> "timedelta":
        return selected.rotation.options.maximum_age or self.maximum_age

    def _warn(self, rotation: RotationHealth) -> None:
        inactive = rotation.inactive_published
        self.telemetry.logger.warning(
            "rotation needs attention",
            shares_user_with=rotation.shares_user_with,
            next_step=reactivate(rotation.state.user_name, inactive.id) if inactive else "",
            oldest_active_key_age_days=round(rotation.oldest_active_key_age.total_seconds() / 86_400, 1),
            remarks=rotation.issues,
            **{name: fact for name, fact in _facts(rotation).items() if name != "issues"},
        )

    def _events(self, remarkable: list[RotationHealth], now: "datetime", correlation_id: str) -> list[Event]:
        """Every audit announces an outage; one a day announces all issues."""
        key_events = KeyEvents(self.events.stack, correlation_id)
        outages = [
            key_events.published_key_inactive(rotation.state, inactive.id)
            for rotation in remarkable
            if (inactive := rotation.inactive_published)
        ]
        others = (
            needs_attention(_facts(rotation), rotation.state.user_name, now, correlation_id) for rotation in remarkable
        )
        return outages + [event for events in others for event in events]

    def _report_mirror(self, look: MirrorLook) -> None:
        """Log a mirror that does not hold the published key, or whose state is unknown."""
        logger, secret = self.telemetry.logger, look.secret
        if look.lags:
            logger.warning("mirror needs attention", secret=secret, state=look.state, next_step=look.next_step)
        elif look.state is MirrorState.UNKNOWN:
            logger.warning("mirror unreadable", secret=secret, explanation=look.explanation)

    def _warn_unreadable(self, what: str, error: Exception) -> None:
        self.telemetry.logger.warning("rotation unreadable", entry=what, explanation=str(error))


def _facts(rotation: RotationHealth) -> dict[str, Any]:
    """What logs and events say about a rotation."""
    return {
        "issues": list(rotation.issues),
        "rotation_id": rotation.state.id,
        "rotation_name": rotation.state.name,
        "last_rotated_at": format_timestamp(rotation.state.last_rotated_at),
        "age_days": round(rotation.age.total_seconds() / 86_400, 1),
        "limit_days": round(rotation.limit.total_seconds() / 86_400, 1),
        "explanation": rotation.state.last_message or "",
    }


@cache
def compose() -> Audit:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = AuditSettings.read(os.environ)
    lambda_: Any = LazyClient("lambda")  # for maps with mirrors
    own_iam: Any = LazyClient("iam", GUARD_CONFIG)
    telemetry = Telemetry(settings.service, settings.log_level)
    bus = EventBridge(time)
    return Audit(
        read_map=parameter_reader(settings.rotation_map_parameter, MAP_SOURCE),
        infisical=connect(settings.infisical, time),
        maximum_age=settings.maximum_age,
        keys=KeyWatch(IamClients(own_iam, time), time),
        mirrors=MirrorWatch(lambda_, settings.hook_function, time),
        events=OutcomeEvents(
            bus, settings.outcome_event_bus_name, settings.outcome_event_source, settings.service, telemetry
        ),
        telemetry=telemetry,
        clock=time,
    )


def handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Answer one invocation."""
    return compose().handle(event, context.aws_request_id)


finish(compose)
