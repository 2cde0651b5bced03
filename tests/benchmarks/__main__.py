"""`make bench`: measure the built functions beside what one would write instead, on this machine alone."""

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.benchmarks import batch, cold_start, costs, dispatch, others, page, rate_limit, warm
from tests.benchmarks.artifacts import build, copied, zip_bytes
from tests.benchmarks.figures import Figure, show, write
from tests.benchmarks.template import Built
from tests.sandbox.embedded_aws import ROOT, forget_own_accounts

RESULTS = ROOT / "build" / "benchmarks.json"

Measure = Callable[[Path], Iterator[Figure]]

AT_MOST_BYTES = 3e6
AT_MOST_BYTES_WITHOUT_BYTECODE = 2e6


def main() -> int:
    """Return the exit status: 0, whatever the figures are."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="renew docs/performance.md")
    arguments = parser.parse_args()
    forget_own_accounts()
    for chatty in ("uvicorn", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if sys.platform != "linux":
        print("AWS's emulator of the Lambda runtime is a program for Linux.", file=sys.stderr)
        return 2
    console = Console(highlight=False, stderr=True)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder, console.status("Building") as status:
        built = Built.read(build(Path(folder, "build")))
        figures: list[Figure] = []
        for name, measure in _measures(built).items():
            status.update(f"Measuring: {name}")
            Path(folder, name).mkdir()
            figures += measure(Path(folder, name))
    months = costs.months(built, {figure.key: figure.value for figure in figures})
    figures += costs.figures(months)
    show(figures)
    write(figures, RESULTS)
    if arguments.docs:
        page.renew(figures, months)
    return 0


def _measures(built: Built) -> dict[str, Measure]:
    return {
        "cold start": partial(cold_start.measure, built),
        "warm rotations": partial(warm.measure, built),
        "batches": partial(batch.measure, built),
        "rate limit": lambda _: rate_limit.measure(built),
        "dispatch": partial(dispatch.measure, built),
        "audit and hook": partial(others.measure, built),
        "artifact": partial(_artifact, built),
    }


def _artifact(built: Built, folder: Path) -> Iterator[Figure]:
    task = built.functions["RotateFunction"].task
    what = "The artifact of rotate, zipped"
    yield Figure("artifact_zip_bytes", f"{what}, as it was built", zip_bytes(task), "MB", at_most=AT_MOST_BYTES)
    for key, bytecode, at_most in (
        ("artifact_zip_bytes_without_bytecode", False, AT_MOST_BYTES_WITHOUT_BYTECODE),
        ("artifact_zip_bytes_with_bytecode", True, AT_MOST_BYTES),
    ):
        size = zip_bytes(copied(task, folder / key, bytecode=bytecode))
        yield Figure(key, f"… {'with' if bytecode else 'without'} bytecode", size, "MB", at_most=at_most)


if __name__ == "__main__":
    sys.exit(main())
