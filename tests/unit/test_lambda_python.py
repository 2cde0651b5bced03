"""Which Python compiles the functions; uv is a script here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.lambda_python import NONE_FOUND, VERSION

ROOT = Path(__file__).parents[2]
FINDS_ON_THE_PATH = 'found=$(command -v python3.13) || exit 2; "$found" || exit 2; echo "$found"'


class Machine:
    """A machine with a uv, and with pyenv."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.calls = folder / "calls"

    def add(self, path: str, script: str) -> Path:
        program = self._folder / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    def add_uv(self, find: str, install: str) -> None:
        self.add("bin/uv", f'echo "$2" >> "{self.calls}"\ncase $2 in\nfind) {find};;\ninstall) {install};;\nesac')

    def run(self) -> subprocess.CompletedProcess[str]:
        folders = [str(self._folder / "pyenv/shims"), str(self._folder / "bin"), "/bin"]
        return subprocess.run(
            [sys.executable, "-m", "tools.lambda_python"],
            cwd=ROOT,
            env={"PATH": os.pathsep.join(folders), "PYENV_ROOT": str(self._folder / "pyenv")},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_pyenvs_interpreter_is_found_behind_a_shim_that_fails(machine: Machine) -> None:
    machine.add("pyenv/shims/python3.13", "exit 127")
    own = machine.add("pyenv/versions/3.13.0/bin/python3.13", "exit 0")
    machine.add_uv(FINDS_ON_THE_PATH, "exit 1")

    run = machine.run()

    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, str(own), "")


def test_uv_brings_the_interpreter_that_is_missing(machine: Machine, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    machine.add_uv(f'[ -e "{installed}" ] && echo "{installed}" || exit 2', f'touch "{installed}"')

    run = machine.run()

    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, str(installed), "")
    assert machine.calls.read_text().split() == ["find", "install", "find"]


def test_a_build_without_the_interpreter_goes_on_and_says_so_once(machine: Machine) -> None:
    machine.add_uv("exit 2", "exit 1")

    run = machine.run()

    assert (run.returncode, run.stdout, run.stderr) == (0, "", f"{NONE_FOUND}\n")


def test_the_version_is_the_runtimes() -> None:
    assert f"\n    Runtime: python{VERSION}\n" in (ROOT / "template.yaml").read_text("utf-8")
