"""The built artifact holds what the functions need, and nothing that ties it to a machine."""

from pathlib import Path

import pytest

FUNCTIONS = ("DispatchFunction", "RotateFunction", "HookFunction", "AuditFunction", "RetireFunction")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_artifact_is_pure_python_and_leaves_boto3_to_the_runtime(artifacts: Path, function: str) -> None:
    files = [path.relative_to(artifacts / function) for path in (artifacts / function).rglob("*") if path.is_file()]

    assert len(files) > 50
    assert [str(path) for path in files if path.suffix in {".so", ".pyd", ".dylib"}] == []
    assert [str(path) for path in files if path.parts[0] in {"boto3", "botocore", "tests"}] == []
