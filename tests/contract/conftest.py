import pytest

from tests.contract.stage import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()
