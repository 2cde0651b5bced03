"""One deployed stack for all end-to-end tests; each test brings rotations of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.sandbox import Sandbox, sandbox


@pytest.fixture(scope="session")
def deployed(artifacts: Path) -> Iterator[Sandbox]:
    assert artifacts.is_dir()
    with sandbox() as running:
        yield running


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move what looks back at the whole run to its end."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
