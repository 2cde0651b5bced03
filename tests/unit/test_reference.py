"""The tables of docs/reference.md against the template and the code."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from rotator.infisical.client import USER_AGENT
from rotator.telemetry import Metric

ROOT = Path(__file__).parents[2]
PARAMETERS, METRICS, _ = (ROOT / "docs" / "reference.md").read_text("utf-8").split("\n## ")[1:]
TEMPLATE: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
OF_ALL = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
FUNCTIONS = {
    name.removesuffix("Function").lower(): OF_ALL | resource["Properties"]["Environment"]["Variables"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}


def rows() -> list[list[str]]:
    """Parameter, default, environment variable, its functions and the meaning, of each row."""
    lines = [line for line in PARAMETERS.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def variables() -> Iterator[tuple[str, str, str]]:
    """Parameter, environment variable and function, as the template has them; the parameter may be none."""
    for function, environment in FUNCTIONS.items():
        for variable, value in environment.items():
            source = value.get("Ref", "") if isinstance(value, dict) else ""
            yield source if source in TEMPLATE["Parameters"] else "", variable, function


def test_every_parameter_is_listed_with_its_default_in_the_templates_order() -> None:
    documented = [(name, default) for name, default, *_ in rows() if name.isalnum()]

    assert documented == [(name, str(each["Default"])) for name, each in TEMPLATE["Parameters"].items()]


def test_every_environment_variable_is_listed_with_its_source_and_readers() -> None:
    documented = {
        (name if name.isalnum() else "", variable, function)
        for name, _, variable, functions, _ in rows()
        if variable
        for function in (FUNCTIONS if functions == "all" else functions.split(", "))
    }

    assert documented == set(variables())


def test_every_row_has_a_description() -> None:
    assert [row for row in rows() if not row[4]] == []


def test_every_metric_is_listed() -> None:
    cells = re.findall(r"^\| ([^|]+) \|", METRICS, re.MULTILINE)
    named = {name for cell in cells for name in cell.split(", ")} - {"metric", "---"}

    assert named == set(Metric)


VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_requests_to_infisical_carry_the_name_and_version_of_this_application() -> None:
    assert f"infisical-rotation-triggers/{VERSION}" == USER_AGENT


def test_the_changelog_begins_with_the_version_that_is_released() -> None:
    assert re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[0] == VERSION
