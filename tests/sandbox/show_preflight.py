"""`make preflight` without a stack: one on this machine, with a map in which some things are not as they should be."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from tests.sandbox.deployment import STACK, build
from tests.sandbox.embedded_aws import ROOT, forget_own_accounts
from tests.sandbox.sandbox import LONG_AGO, Sandbox, sandbox
from tests.sandbox.screen import screen, step, tell

PROBLEMS_FOUND = 1


def main() -> int:
    """Return the exit status: 0 where the preflight found what is wrong with the sample."""
    forget_own_accounts()
    console = screen()
    try:
        status = _run(console)
    except (RuntimeError, TimeoutError) as error:
        tell(console, error)
        return 1
    return 0 if status == PROBLEMS_FOUND else 1


def _run(console: Console) -> int:
    with step(console, "Building the application"):
        build()
    with ExitStack() as running:
        with step(console, "Starting an AWS and an Infisical on this machine, deploying template.yaml"):
            here = running.enter_context(sandbox())
            here.stack.put_map(_sample(here))
            here.stack.leave_alarms_unconfirmed()
        console.print(f"[bold]make preflight STACK={STACK}[/]\n")
        return preflight(here.stack.aws.environment)


def preflight(environment: Mapping[str, str]) -> int:
    """What `make preflight STACK=…` runs; AWS_ENDPOINT_URL leads it to the embedded AWS."""
    command = [sys.executable, "-m", "infisical_rotation_triggers", "preflight", "--stack", STACK]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False).returncode


def _sample(here: Sandbox) -> dict[str, Any]:
    """A map of rotations, some of which want attention."""
    fine = here.add_rotation("payments-deployer", is_auto_rotation_enabled=False)
    fresh = here.add_rotation("search-indexer", datetime.now(UTC), is_auto_rotation_enabled=False)
    itself = here.add_rotation("reports-uploader")
    used = here.add_rotation("backup-writer", is_auto_rotation_enabled=False)
    previous = here.iam.create_access_key(UserName=used.name)["AccessKey"]["AccessKeyId"]
    here.iam_front.date(previous, LONG_AGO - timedelta(days=7))
    here.use_key(previous, datetime.now(UTC) - timedelta(hours=1))
    mirrored, new = (
        here.add_rotation(name, is_auto_rotation_enabled=False) for name in ("ledger-exporter", "mail-sender")
    )
    published = {name: mirrored.published[name] for name in ("accessKeyId", "secretAccessKey")}
    in_step, empty = here.hook.add_secret(mirrored.name, published), here.hook.add_secret(new.name)
    return {
        "triggers": {
            "weekly": [fine.id, {"id": fresh.id, "minimumInterval": "1 day"}, itself.id],
            "monthly": [used.id, "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"],
        },
        "mirrors": {in_step: mirrored.id, empty: new.id},
    }


if __name__ == "__main__":
    sys.exit(main())
