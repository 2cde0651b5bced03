"""Check a rotation map offline, as the functions do.

With --stack, show which rotations it adds, removes and changes, ask, and put it. Exit status: 0 if the map is valid
and, with --stack, is what the stack has; 1 if it is refused; 2 if the tool cannot run; 3 if it differs from the
stack's map and was not put.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.map.check import MapRefusedError, Report, check
from tools.one_line import one_line

REFUSED, CANNOT_RUN = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="make map", description=__doc__)
    parser.add_argument("maps", nargs="+", type=Path, metavar="MAP", help="a JSON file")
    parser.add_argument("--stack", help="compare the map with this stack's, and put it")
    parser.add_argument("--yes", action="store_true", help="put the map without asking")
    parser.add_argument("--json", action="store_true", help="print a report as JSON; it never asks")
    given = parser.parse_args(arguments)
    if given.stack and len(given.maps) > 1:
        parser.error("a stack has one map: name one file")
    reports = []
    for path in given.maps:
        try:
            if given.stack:
                # Only here: a check needs neither boto3 nor credentials.
                from tools.map.deploy import deploy  # noqa: PLC0415

                report = deploy(path, given.stack, yes=given.yes, quiet=given.json)
            else:
                report = check(path)
        except MapRefusedError as error:
            report = Report(str(path), REFUSED, str(error))
        except OSError as error:
            report = Report(str(path), CANNOT_RUN, f"{path} cannot be read: {error.strerror}")
        if not given.json:
            print(f"{path}: {one_line(report.message)}", file=sys.stderr if report.status in (1, 2) else sys.stdout)
        reports.append(report)
    if given.json:
        print(json.dumps([report.to_json() for report in reports], indent=2))
    return max(report.status for report in reports)


if __name__ == "__main__":
    sys.exit(main())
