"""`sam deploy --guided` writes into samconfig.toml: that must not change a file that git tracks."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("Makefile", ".gitignore", "samconfig.default.toml")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What git tracks of these files, committed in a repository of its own."""
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    run(tmp_path, "git", "init", "--quiet")
    run(tmp_path, "git", "add", ".")
    run(tmp_path, "git", "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "--quiet", "--message=a")
    return tmp_path


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_make_creates_the_configuration_that_sam_reads(clone: Path) -> None:
    run(clone, "make", "samconfig.toml")

    deploying = tomllib.loads((clone / "samconfig.toml").read_text("utf-8"))["default"]["deploy"]["parameters"]
    assert deploying == {"stack_name": "infisical-rotation", "capabilities": "CAPABILITY_IAM", "resolve_s3": True}
    assert run(clone, "git", "status", "--porcelain") == ""


def test_make_keeps_what_sam_saved(clone: Path) -> None:
    (clone / "samconfig.toml").write_text("saved by sam")
    (clone / "samconfig.default.toml").touch()  # a newer default

    run(clone, "make", "samconfig.toml")

    assert (clone / "samconfig.toml").read_text() == "saved by sam"
    assert run(clone, "git", "status", "--porcelain") == ""


def test_a_build_makes_sure_that_it_is_there(clone: Path) -> None:
    """docs/operations.md upgrades by `make build` and a plain `sam deploy`, which reads the stack's name there."""
    assert "cp samconfig.default.toml samconfig.toml" in run(clone, "make", "--dry-run", "build")
