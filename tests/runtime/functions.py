"""What the built template says about each function: its artifact, and how Lambda is to run it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse


@dataclass(frozen=True)
class Function:
    """`variables` are the environment as the template writes it: texts, and references to what it does not know."""

    task: Path
    handler: str
    timeout_seconds: int
    variables: Mapping[str, Any]
    defaults: Mapping[str, str]

    def environment(self, values: Mapping[str, str]) -> dict[str, str]:
        """Put in the values of parameters and resources; where a parameter has none, its default.

        Raises KeyError naming what has neither.
        """
        known = {**self.defaults, **values}
        return {name: _text(value, known) for name, value in self.variables.items()}


def _text(value: object, known: Mapping[str, str]) -> str:
    """What CloudFormation makes of a variable's value; of a choice, what there is without the hook."""
    match value:
        case {"Ref": name}:
            return known[name]
        case {"Fn::If": [_, _, otherwise]}:
            return str(otherwise)
    return str(value)


def built_functions(build: Path) -> dict[str, Function]:
    """Every function of the template that `sam build` wrote, by its logical id."""
    template = yaml_parse((build / "template.yaml").read_text())
    parameters = template["Parameters"]
    defaults = {name: str(each["Default"]) for name, each in parameters.items() if "Default" in each}
    common = template["Globals"]["Function"]["Environment"]["Variables"]

    def functions() -> Iterator[tuple[str, Function]]:
        for name, resource in template["Resources"].items():
            if resource["Type"] == "AWS::Serverless::Function":
                of = resource["Properties"]
                variables = {**common, **of["Environment"]["Variables"]}
                yield name, Function(build / of["CodeUri"], of["Handler"], of["Timeout"], variables, defaults)

    return dict(functions())
