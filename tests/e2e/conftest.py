"""One deployed stack for all end-to-end tests of a process; each test brings rotations of its own."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.faults import Run, run_all
from tests.sandbox.sandbox import Sandbox, sandbox
from tests.sandbox.standin.rotations import Rotation

_numbers = itertools.count()


@pytest.fixture(scope="session")
def deployed(artifacts: Path) -> Iterator[Sandbox]:
    assert artifacts.is_dir()
    with sandbox() as running:
        yield running
        _look_for_secrets(running)


def _look_for_secrets(running: Sandbox) -> None:
    """Look at the end through all that the tests left in logs and queues."""
    logs = running.stack.raw_logs() + running.stack.aws.log.read_text()
    queued = json.dumps([running.stack.take(f"{queue}Url") for queue in ("FailedRotations", "UndeliveredTriggers")])
    secrets = running.infisical.secrets
    assert secrets, "whatever the tests did, functions logged in"
    assert [secret for secret in secrets if secret in logs or secret in queued] == []


@pytest.fixture(scope="session")
def run(deployed: Sandbox) -> Run:
    """Every fault of Infisical, caused once for all tests that look at its traces."""
    return run_all(deployed)


@pytest.fixture
def new_rotation(deployed: Sandbox) -> Callable[..., Rotation]:
    """Create rotations of this test alone, each with an IAM user of its own."""
    return lambda **fields: deployed.add_rotation(f"user-{next(_numbers)}", **fields)


@pytest.fixture
def rotation(deployed: Sandbox, new_rotation: Callable[..., Rotation]) -> Rotation:
    """A rotation of this test alone, mapped to the trigger that the sample events name."""
    rotation = new_rotation()
    deployed.stack.put_map({"triggers": dict.fromkeys(["weekly", "monthly", "payments/deployer"], rotation.id)})
    return rotation
