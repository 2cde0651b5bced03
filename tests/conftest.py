from pathlib import Path

import pytest

from tests.sandbox.deployment import build
from tests.sandbox.embedded_aws import ROOT, forget_own_accounts


def pytest_configure() -> None:
    forget_own_accounts()


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """The folder with each function's artifact, as `sam build` makes it of the working tree."""
    build()
    return ROOT / ".aws-sam" / "build"
