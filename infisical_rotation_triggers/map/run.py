"""Checks map files and, for a stack, puts one."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from infisical_rotation_triggers.map.check import MapRefusedError, Report, check
from infisical_rotation_triggers.one_line import one_line

REFUSED, CANNOT_RUN = 1, 2


def run(maps: Sequence[Path], stack: str | None, *, yes: bool, as_json: bool) -> int:
    """Return the exit status: the highest of any file's."""
    reports = []
    for path in maps:
        try:
            if stack:
                # Only here: a check needs neither boto3 nor credentials.
                from infisical_rotation_triggers.map.deploy import deploy  # noqa: PLC0415

                report = deploy(path, stack, yes=yes, quiet=as_json)
            else:
                report = check(path)
        except MapRefusedError as error:
            report = Report(str(path), REFUSED, str(error))
        except OSError as error:
            report = Report(str(path), CANNOT_RUN, f"{path} cannot be read: {error.strerror}")
        if not as_json:
            print(f"{path}: {one_line(report.message)}", file=sys.stderr if report.status in (1, 2) else sys.stdout)
        reports.append(report)
    if as_json:
        print(json.dumps([report.to_json() for report in reports], indent=2))
    return max(report.status for report in reports)
