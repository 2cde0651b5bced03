"""The built artifact holds what the functions need, and nothing that ties it to a machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.embedded_aws import ROOT

FUNCTIONS = {
    "DispatchFunction": "dispatch",
    "RotateFunction": "rotate",
    "HookFunction": "hook",
    "AuditFunction": "audit",
}

# What the Lambda runtime for Python ships beside the standard library.
RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runtime's packages alone."""
    folder = tmp_path_factory.mktemp("runtime")
    (installed,) = (ROOT / ".venv-aws" / "lib").glob("python3*/site-packages")
    for package in RUNTIME_PACKAGES:
        (folder / package).symlink_to(installed / package)
    return folder


@pytest.mark.parametrize(("function", "module"), FUNCTIONS.items())
def test_the_handler_imports_with_nothing_but_the_artifact_and_the_runtime(
    artifacts: Path, runtime: Path, function: str, module: str
) -> None:
    paths = [str(artifacts / function), str(runtime)]
    program = f"import sys; sys.path[:0] = {paths!r}; import {module}; print({module}.handler.__name__)"

    # -I and -S: no environment variables, no site-packages
    answer = subprocess.run([sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=False)

    assert (answer.stdout, answer.stderr) == ("handler\n", "")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_artifact_is_pure_python_and_leaves_boto3_to_the_runtime(artifacts: Path, function: str) -> None:
    files = [path.relative_to(artifacts / function) for path in (artifacts / function).rglob("*") if path.is_file()]

    assert len(files) > 50
    assert [str(path) for path in files if path.suffix in {".so", ".pyd", ".dylib"}] == []
    assert [str(path) for path in files if path.parts[0] in {"boto3", "botocore", "tests"}] == []
