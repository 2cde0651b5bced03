import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.deployment import BUILT_TEMPLATE, build
from tests.sandbox.embedded_aws import forget_own_accounts
from tests.sandbox.standin.core import SERVERS

SHORTEST_REAL_SECRET = 20  # what is shorter was made up by a test, and may be a word

# Tests that share something running: each group is one process's, and the longest begin first.
GROUPS = (
    "e2e-privilege",
    "e2e-faults",
    "e2e-load",
    "e2e-stack",
    "e2e",
    "e2e-more",
    "runtime",
    "contract",
    "e2e-readme",
)
END_TO_END = {
    "test_least_privilege": "e2e-privilege",
    **dict.fromkeys(("test_deployed_stack", "test_key_guard"), "e2e-stack"),
    **dict.fromkeys(("test_faults", "test_observability"), "e2e-faults"),  # mostly waits
    **dict.fromkeys(("test_full_width", "test_kill_and_load", "test_rotation_hook"), "e2e-load"),
    **dict.fromkeys(("test_consumers", "test_examples", "test_lifecycle", "test_map", "test_release"), "e2e-more"),
    "test_readme": "e2e-readme",  # deploys into an account of its own
}

_written: list[str] = []


def pytest_configure() -> None:
    forget_own_accounts()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Let tests that share something running stay together, and what looks back at it run last."""
    for item in items:
        folder = item.path.parent.name
        if folder in GROUPS:
            group = END_TO_END.get(item.path.stem, folder) if folder == "e2e" else folder
            item.add_marker(pytest.mark.xdist_group(group))
    yield
    if config.getoption("loadgroup", default=False):
        # Whoever is not kept together deploys a stack in every process: everything passes, in twice the time.
        alone = [item.nodeid for item in items if _group(item) and "@" not in item.nodeid]
        if alone:
            raise pytest.UsageError(f"pytest-xdist does not keep {alone[0]} and {len(alone) - 1} more with their group")
    places = {group: place for place, group in enumerate((*GROUPS, None))}
    items.sort(key=lambda item: (places[_group(item)], item.get_closest_marker("last") is not None))


def _group(item: pytest.Item) -> str | None:
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else None


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _written.extend(text for _, text in report.sections)


@pytest.fixture(scope="session", autouse=True)
def no_secret_of_any_server_is_written_anywhere() -> Iterator[None]:
    """Look at the end through all that the tests of this process wrote: standard output and error, and every log."""
    yield
    secrets = {secret for server in SERVERS for secret in server.secrets if len(secret) >= SHORTEST_REAL_SECRET}
    written = "\n".join(_written)
    assert [secret for secret in secrets if secret in written] == []


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with each function's artifact, as `sam build` makes it of the working tree; once for all processes."""
    of_the_run = tmp_path_factory.getbasetemp()
    if of_the_run.name.startswith("popen-"):  # one of several processes
        of_the_run = of_the_run.parent
    with (of_the_run / "artifacts.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            build()
            lock.write("built")
    return BUILT_TEMPLATE.parent
