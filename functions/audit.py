"""Lambda function `audit`: what the map stands for → which rotations are overdue or failed, which mirrors lag."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rotator.aws import ClientOnDemand, parameter_reader
from rotator.dry_run.access import preview_access
from rotator.dry_run.findings import Finding, examine, summarize
from rotator.dry_run.mirror import MirrorState
from rotator.dry_run.mirror_watch import MirrorLook, MirrorWatch
from rotator.infisical.client import Infisical
from rotator.infisical.connect import connect
from rotator.infisical.errors import InfisicalError, reason_of
from rotator.lambda_init import finish
from rotator.model import MappedRotation, RotationState
from rotator.settings import MAP_SOURCE, AuditSettings
from rotator.telemetry import Telemetry
from rotator.timestamps import format_instant, instant_at
from rotator.triggers.rotation_map import Entry, RotationMap, parse_rotation_map
from rotator.triggers.selection import EmptySelectionError, Selected, ShortSelectionError, read_rotation_states, select

if TYPE_CHECKING:
    from datetime import timedelta

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from rotator.clock import Clock


@dataclass(frozen=True, slots=True)
class Audit:
    """Looks at every rotation, changes none, and tells of those that a person should know of."""

    read_map: Callable[[], str]
    infisical: Infisical
    maximum_age: "timedelta"
    mirrors: MirrorWatch
    telemetry: Telemetry
    clock: "Clock"

    def handle(self, event: object, correlation_id: str) -> dict[str, Any]:
        """Emit the metrics of all rotations and log one line for each that is remarkable; return the metrics.

        Or answer a dry run, which a person asks for. Whatever else the event is, the audit is the same.
        Raises what keeps it from reading the map. What cannot be read of Infisical is counted.
        """
        if report := preview_access(event, self.infisical):
            return dict(report)
        self.telemetry.logger.append_keys(correlation_id=correlation_id)
        try:
            rotation_map = parse_rotation_map(self.read_map())
        except Exception as error:
            # The traceback is Lambda's to log, once.
            self.telemetry.logger.error("audit failed", reason=reason_of(error), explanation=str(error))  # noqa: TRY400
            raise
        watched, unreadable = self._watched(rotation_map)
        readable: list[tuple[RotationState, timedelta]] = []
        for selected, state in zip(watched, read_rotation_states(self.infisical, watched), strict=True):
            if isinstance(state, InfisicalError):
                unreadable += 1
                self._warn_unreadable(selected.rotation.id, state)
            else:
                readable.append((state, self._limit(selected)))
        findings = examine(readable, instant_at(self.clock.time()))
        for finding in findings:
            if finding.remarks:
                self._warn(finding)
        looks = self.mirrors.look(rotation_map.mirrors)
        for look in looks:
            self._tell(look)
        unreadable += sum(look.state is MirrorState.UNKNOWN for look in looks)
        metrics = summarize(findings, unreadable, lagging_mirrors=sum(look.lags for look in looks))
        self.telemetry.emit(metrics, correlation_id=correlation_id)
        return {str(metric): value for metric, value in metrics.items()}

    def _watched(self, rotation_map: RotationMap) -> tuple[list[Selected], int]:
        """Each rotation once, with the strictest of its limits; and how many entries stand for nothing readable."""
        list_rotations = cache(self.infisical.rotations)
        watched: dict[str, Selected] = {}
        unreadable: dict[Entry | str, Exception] = {}
        for entries in rotation_map.groups():
            named = [entry for entry in entries if isinstance(entry, MappedRotation)]
            for entry in entries:
                try:  # one by one, so that a selector that stands for nothing keeps no other from being watched
                    selection = select([*named, entry], list_rotations, rotation_map.mirrored_ids)
                    unreadable |= {str(error): error for error in selection.unreadable}
                    for selected in selection.rotations:
                        known = watched.get(selected.rotation.id)
                        if known is None or self._limit(selected) < self._limit(known):
                            watched[selected.rotation.id] = selected
                except (InfisicalError, EmptySelectionError, ShortSelectionError) as error:
                    unreadable[entry] = error
        for what, why in unreadable.items():
            self._warn_unreadable(str(what), why)
        return list(watched.values()), len(unreadable)

    def _limit(self, selected: Selected) -> "timedelta":
        return selected.rotation.options.maximum_age or self.maximum_age

    def _warn(self, finding: Finding) -> None:
        self.telemetry.logger.warning(
            "rotation needs attention",
            remarks=finding.remarks,
            rotation_id=finding.state.id,
            rotation_name=finding.state.name,
            last_rotated_at=format_instant(finding.state.last_rotated_at),
            age_days=round(finding.age.total_seconds() / 86_400, 1),
            limit_days=round(finding.limit.total_seconds() / 86_400, 1),
            explanation=finding.state.last_message or "",
            shares_user_with=finding.shares_user_with,
        )

    def _tell(self, look: MirrorLook) -> None:
        """Log a mirror that does not hold the published key, or of which this is not known."""
        logger, secret = self.telemetry.logger, look.secret
        if look.lags:
            logger.warning("mirror needs attention", secret=secret, state=look.state, next_step=look.next_step)
        elif look.state is MirrorState.UNKNOWN:
            logger.warning("mirror unreadable", secret=secret, explanation=look.explanation)

    def _warn_unreadable(self, what: str, error: Exception) -> None:
        self.telemetry.logger.warning("rotation unreadable", entry=what, explanation=str(error))


@cache
def compose() -> Audit:
    """Put the function together from its environment, once for each of Lambda's processes."""
    settings = AuditSettings.read(os.environ)
    lambda_: Any = ClientOnDemand("lambda")  # for maps with mirrors
    return Audit(
        read_map=parameter_reader(settings.rotation_map_parameter, MAP_SOURCE),
        infisical=connect(settings.infisical, time),
        maximum_age=settings.maximum_age,
        mirrors=MirrorWatch(lambda_, settings.hook_function, time),
        telemetry=Telemetry(settings.service, settings.log_level),
        clock=time,
    )


def handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Answer one invocation."""
    return compose().handle(event, context.aws_request_id)


finish(compose)
