"""The difference between two rotation maps, as rotations. Pure: a function resolves the triggers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from infisical_rotation_triggers.map.check import Change
from rotator.model import GuardOptions, RotationOptions, Selector
from rotator.triggers.rotation_map import Entry, RotationMap
from rotator.triggers.secret_events import secret_name

if TYPE_CHECKING:
    from rotator.dry_run.reports import RotationReport, UnreadableRotation

ADDED, REMOVED, CHANGED, SAME, UNKNOWN = "added", "removed", "changed", "same", "unknown"

Limits = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A trigger that dispatch refuses, and why."""

    explanation: str


Resolved = dict[str, tuple[str, Limits]]  # id → name and limits
Resolve = Callable[[str], Resolved | Unresolved]


def changes(old: RotationMap, new: RotationMap, resolve_old: Resolve, resolve_new: Resolve) -> Iterator[Change]:
    """Compare the triggers that are written differently, then the mirrors.

    A trigger that cannot be resolved by the new map is UNKNOWN: dispatch would refuse it.
    """
    remirrored = old.mirrored_ids != new.mirrored_ids  # selectors leave mirrored rotations out
    for trigger in sorted(old.triggers.keys() | new.triggers.keys()):
        before, after = old.triggers.get(trigger, ()), new.triggers.get(trigger, ())
        if before != after or remirrored:
            yield from _trigger_changes(
                trigger,
                before,
                after,
                resolve_old(trigger) if before else {},
                resolve_new(trigger) if after else {},
            )
    yield from _rotation_changes("mirrors", _mirrors(old), _mirrors(new))


def _trigger_changes(
    trigger: str,
    before: tuple[Entry, ...],
    after: tuple[Entry, ...],
    resolved_before: Resolved | Unresolved,
    resolved_after: Resolved | Unresolved,
) -> Iterator[Change]:
    if isinstance(resolved_after, Unresolved):
        yield Change(UNKNOWN, trigger, "dispatch would refuse this trigger", resolved_after.explanation)
        return
    if isinstance(resolved_before, Unresolved):
        yield Change(CHANGED, trigger, "dispatch refuses this trigger now", resolved_before.explanation)
        resolved_before = {}
    found = list(_rotation_changes(trigger, resolved_before, resolved_after))
    yield from found
    if (old := _demands(before)) != (new := _demands(after)) and before and after:
        yield Change(CHANGED, trigger, "roles and selectors", f"{old or 'none'} → {new or 'none'}")
    elif not found and before != after:
        yield Change(SAME, trigger, "its entries are written differently, and mean the same rotations now")


def _rotation_changes(group: str, before: Resolved, after: Resolved) -> Iterator[Change]:
    for key in sorted(before.keys() | after.keys()):
        (_, old), (_, new) = before.get(key, ("", {})), after.get(key, ("", {}))
        name = (after.get(key) or before[key])[0]
        subject = f"{name} ({key})" if name else key
        if key not in before:
            yield Change(ADDED, group, subject, _written(new))
        elif key not in after:
            yield Change(REMOVED, group, subject)
        elif old != new:
            differing = [
                f"{limit}: {old.get(limit, 'none')} → {new.get(limit, 'none')}"
                for limit in sorted(old.keys() | new.keys())
                if old.get(limit) != new.get(limit)
            ]
            yield Change(CHANGED, group, subject, ", ".join(differing))


def limits_of(report: "RotationReport | UnreadableRotation") -> Limits:
    """Return what a dry run says about the limits of a rotation, with the stack's defaults filled in."""
    if report["decision"] == "unreadable":
        return {"unreadable": report["reason"]}
    maximum_age, grace_period = report["maximum_age_seconds"], report.get("grace_period_seconds")
    limits = {
        "minimumInterval": str(timedelta(seconds=report["minimum_interval_seconds"])),
        "keyGuard": "on" if report["key_guard"] else "off",
    }
    if maximum_age is not None:
        limits["maximumAge"] = str(timedelta(seconds=maximum_age))
    if grace_period is not None:
        limits["gracePeriod"] = str(timedelta(seconds=grace_period))
    return limits


def _mirrors(rotation_map: RotationMap) -> Resolved:
    """Return each mirror, which a map alone says completely."""
    return {
        secret: (
            secret_name(secret),
            {
                "rotation": mirror.rotation.id,
                "fields": f"{mirror.access_key_id_field}, {mirror.secret_access_key_field}",
                **_options(mirror.rotation.options),
            },
        )
        for secret, mirror in rotation_map.mirrors.items()
    }


def _options(options: RotationOptions) -> Limits:
    guard = options.guard or GuardOptions()
    found = {
        "minimumInterval": options.minimum_interval,
        "maximumAge": options.maximum_age,
        "gracePeriod": guard.grace_period,
        "role": guard.role,
        "externalId": guard.external_id,
    }
    guarded = {} if options.guard else {"keyGuard": "off"}
    return guarded | {name: str(value) for name, value in found.items() if value is not None}


def _demands(entries: tuple[Entry, ...]) -> str:
    """Return what no dry run reports: the key guard's roles, and how many rotations a selector has to match."""
    found = []
    for entry in entries:
        guard = entry.options.guard or GuardOptions()
        external_id = f" with externalId {guard.external_id}" if guard.external_id else ""
        subject = f"{entry} at least {entry.at_least}" if isinstance(entry, Selector) else entry.id
        role = f" as {guard.role}{external_id}" if guard.role else ""
        if role or isinstance(entry, Selector):
            found.append(f"{subject}{role}")
    return "; ".join(found)


def _written(limits: Limits) -> str:
    return ", ".join(f"{name}: {value}" for name, value in sorted(limits.items()))
