from pathlib import Path

import pytest

from tests.sandbox.deployment import build
from tests.sandbox.embedded_aws import ROOT, forget_own_accounts

_captured: list[str] = []


def pytest_configure() -> None:
    forget_own_accounts()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move what looks back at the whole run to its end."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _captured.extend(text for _, text in report.sections)


@pytest.fixture
def captured() -> list[str]:
    """What the tests before this one wrote: standard output and error, and every log."""
    return _captured


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """The folder with each function's artifact, as `sam build` makes it of the working tree."""
    build()
    return ROOT / ".aws-sam" / "build"
