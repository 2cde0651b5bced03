"""One world for all tests that run functions; each test brings rotations of its own."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.runtime.emulator import Emulator
from tests.runtime.functions import built_functions
from tests.runtime.world import World
from tests.runtime.world import world as running_world
from tests.sandbox.standin.rotations import Rotation

DISPATCH_MAP = "/infisical-rotation/map"  # the template's default
HANGING_PROJECT = "0f2f1f5e-3a52-4a5e-9b35-6f1f2f0f00ff"


@pytest.fixture(scope="session")
def linux() -> None:
    if sys.platform != "linux":
        pytest.skip("AWS's emulator of the Lambda runtime is a program for Linux")


@pytest.fixture(scope="session")
def world(linux: None, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:  # noqa: ARG001
    # A copy, which no other build replaces meanwhile.
    build = Path(shutil.copytree(artifacts, tmp_path_factory.mktemp("build"), dirs_exist_ok=True))
    with running_world(built_functions(build), tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def rotate(world: World) -> Iterator[Emulator]:
    with world.running("RotateFunction") as running:
        yield running


class Mapped(NamedTuple):
    """What the triggers of `dispatch`'s map stand for."""

    weekly: list[Rotation]
    payments: list[Rotation]
    hanging: Rotation


@pytest.fixture(scope="session")
def mapped(world: World) -> Mapped:
    """Write the map before the first event: a function keeps it for some seconds."""
    weekly = [world.add_rotation(), world.add_rotation()]
    listed = world.add_rotation(project_id=HANGING_PROJECT)
    triggers = {
        "weekly": [each.id for each in weekly],
        "payments/deployer": weekly[0].id,
        "hanging": {"project": HANGING_PROJECT},
    }
    world.put_parameter(DISPATCH_MAP, {"triggers": triggers})
    return Mapped(weekly, weekly[:1], listed)


@pytest.fixture(scope="session")
def dispatch(world: World, mapped: Mapped) -> Iterator[Emulator]:
    assert mapped.weekly
    with world.running("DispatchFunction") as running:
        yield running
