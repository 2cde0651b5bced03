"""The pre-commit hook, installed as pre-commit does it: from a clone, into an environment that has nothing else."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.sandbox.clone import clone
from tests.sandbox.embedded_aws import ROOT

ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hook")
    clone(folder / "clone")
    python = folder / "environment" / "bin" / "python"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, folder / "environment"], check=True)
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, folder / "clone"], check=True)
    return python.parent


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (f'{{"triggers": {{"weekly": "{ID}"}}}}', 0, "valid: 1 triggers"),
        (f'{{"triggers": {{"weekly": ["{ID}", "{ID}"]}}}}', 1, "names rotation"),
        ("{", 1, "not valid JSON"),
    ],
)
def test_the_hook_checks_a_map_without_aws(installed: Path, tmp_path: Path, text: str, status: int, words: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(text)

    command = shlex.split(f"{installed}/{HOOK['entry']}")
    run = subprocess.run([*command, path], env={}, capture_output=True, text=True, check=False)

    assert (run.returncode, words in run.stdout + run.stderr) == (status, True)
