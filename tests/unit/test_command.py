"""The command `infisical-rotation`: what it says of itself, and how it refuses a wrong call."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infisical_rotation_triggers.__main__ import cli

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_each_subcommand_has_help_with_its_exit_statuses(name: str) -> None:
    result = call(name, "--help")

    assert result.exit_code == 0
    assert "Exit status: 0 " in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["preflight"],
        ["redrive"],
        ["map"],
        ["reactivate", "--stack", "s"],
        ["leaked", "--key", "k"],
        ["map", "a", "b", "--stack", "s"],
    ],
)
def test_an_incomplete_call_is_refused_with_usage(arguments: list[str]) -> None:
    result = call(*arguments)

    assert (result.exit_code, "Usage:" in result.output) == (2 if arguments else result.exit_code, True)


def test_the_region_is_found_in_aws_region() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": ""}
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}

    result = CliRunner(env={**keys, **nowhere, "AWS_REGION": "eu-west-1"}).invoke(cli, ["redrive", "--stack", "s"])

    assert (result.exit_code, "Could not connect" in result.output) == (2, True), result.output


def test_make_calls_subcommands_with_options_that_exist() -> None:
    calls = re.findall(r"infisical_rotation_triggers (\w+) (.*)", MAKEFILE)

    assert {name for name, _ in calls} <= cli.commands.keys()
    for name, rest in calls:
        options = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", rest)) <= options


def test_a_check_of_a_map_loads_no_aws_library(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text('{"triggers": {}}')
    check = """
import sys
from infisical_rotation_triggers.__main__ import cli
try:
    cli(["map", sys.argv[1]])
except SystemExit:
    print({"boto3", "botocore", "httpx"} & sys.modules.keys())
"""

    run = subprocess.run([sys.executable, "-c", check, path], cwd=ROOT, capture_output=True, text=True, check=True)

    assert run.stdout.splitlines()[-1] == "set()"
