"""The Terraform and CDK examples name parameters and outputs that the template has.

Neither tool runs here: Terraform needs its AWS provider, and CDK its library for Node.js.
"""

import re

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.sandbox.embedded_aws import ROOT

TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
BLOCKS = {
    "terraform/main.tf": re.compile(r"parameters = \{\n(.*?)\n  \}", re.DOTALL),
    "cdk/app.mjs": re.compile(r"parameters: \{\n(.*?)\n  \}", re.DOTALL),
}
NAME = re.compile(r"^ +([A-Z]\w+)(?: +=|:)", re.MULTILINE)
OUTPUT = re.compile(r'"(\w+RoleArn)"')


@pytest.mark.parametrize("example", BLOCKS)
def test_an_example_sets_parameters_that_the_template_has(example: str) -> None:
    (block,) = BLOCKS[example].findall((ROOT / "examples" / example).read_text("utf-8"))
    names = set(NAME.findall(block))

    assert names >= {"MachineIdentityId", "AlarmEmail", "ScheduleState"}
    assert names <= TEMPLATE["Parameters"].keys()


def test_the_cdk_example_reads_outputs_that_the_template_has() -> None:
    names = OUTPUT.findall((ROOT / "examples" / "cdk" / "app.mjs").read_text("utf-8"))

    assert len(names) == 3
    assert set(names) <= TEMPLATE["Outputs"].keys()
