"""CloudFormation refuses a parameter that cannot work before it begins, and says why.

The parameters and rules are the template's. They guard a single resource here, so that no test deploys a stack.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from botocore.exceptions import ClientError
from samcli.yamlhelper import yaml_parse

from tests.sandbox.embedded_aws import ROOT, EmbeddedAws, embedded_aws

TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
GUARDED = json.dumps(
    {
        **{section: TEMPLATE[section] for section in ("Parameters", "Rules")},
        "Resources": {"Nothing": {"Type": "AWS::CloudFormation::WaitConditionHandle"}},
    }
)
# Either of the machine identity's parameters is required, and either of the alarms'.
REQUIRED = {"MachineIdentityId": "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00aa", "AlarmEmail": "on-call@example.com"}
TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payments-AbCdEf"

GOOD = {
    "VpcSubnetIds": ["", "subnet-0a1b2c3d", "subnet-0a1b2c3d4e5f60718,subnet-1a1b2c3d4e5f60718"],
    "VpcSecurityGroupIds": ["", "sg-0a1b2c3d", "sg-0a1b2c3d4e5f60718,sg-1a1b2c3d4e5f60718"],
    "AlarmTopicArn": ["", TOPIC, "arn:aws-cn:sns:cn-north-1:123456789012:Al_a-1"],
    "AlarmEmail": ["", "on-call@example.com"],
    "ScheduleExpression": [
        "rate(1 hour)",
        "rate(30 days)",
        "cron(0 5 ? * MON *)",
        "cron(0/15 8-17 L * ? 2026-2030)",
        "at(2026-11-30T05:00:00)",
    ],
    "ScheduleTimezone": [
        "UTC",
        "Europe/Berlin",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+5",
        "America/Port-au-Prince",
    ],
    "CustomEventBusName": [
        "default",
        "rotations.of_us-2",
        "aws.partner/example.com/1/rotations",
        "arn:aws:events:us-east-1:123456789012:event-bus/rotations",
    ],
    "SecretEventArns": ["none", SECRET, f"{SECRET},{SECRET}", f"{SECRET}, {SECRET}"],
    "PermissionsBoundaryArn": [
        "",
        "arn:aws:iam::123456789012:policy/team/bound",
        "arn:aws:iam::aws:policy/PowerUserAccess",
    ],
}
BAD = {
    "VpcSubnetIds": ["subnet-1a, subnet-2b", "subnet-1a,", "sg-1a", "subnet-1a subnet-2b", "vpc-1a"],
    "VpcSecurityGroupIds": ["sg-1a, sg-2b", ",sg-1a", "subnet-1a", "default"],
    "AlarmTopicArn": ["alarms", "arn:aws:sns:us-east-1:123456789012:alarms:0b1f0f5e-3a52", "arn:aws:sqs:us-east-1:1:a"],
    "AlarmEmail": ["on-call", "a@example.com, b@example.com"],
    "ScheduleExpression": [
        "0 5 * * MON",
        "cron(0 5 ? * MON)",
        "rate(0 days)",
        "rate(1week)",
        "rate(2 weeks)",
        "at(2026-11-30 05:00:00)",
        "at(2026-11-30T05:00:00Z)",
        "every Monday",
    ],
    "ScheduleTimezone": ["", "Europe/Berlin ", "+01:00", "Central European Time"],
    "CustomEventBusName": ["", "my bus", "arn:aws:events:us-east-1:123456789012:rule/rotations"],
    "SecretEventArns": ["", "payments", SECRET.removesuffix("-AbCdEf"), f"{SECRET},payments", "*"],
    "PermissionsBoundaryArn": ["bound", "arn:aws:iam::123456789012:role/bound"],
}


@pytest.fixture(scope="module")
def cloudformation() -> Iterator[Any]:
    with embedded_aws() as aws:
        yield Creation(aws)


class Creation:
    """Creates a stack with these parameters; what CloudFormation refuses is a ClientError."""

    def __init__(self, aws: EmbeddedAws) -> None:
        self._client = aws.client("cloudformation")
        self._numbers = count()

    def __call__(self, **parameters: str) -> None:
        self._client.create_stack(
            StackName=f"stack-{next(self._numbers)}",
            TemplateBody=GUARDED,
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value} for name, value in {**REQUIRED, **parameters}.items()
            ],
        )


# The network's parameters come in pairs.
BESIDE = {
    "VpcSubnetIds": {"VpcSecurityGroupIds": "sg-1a"},
    "VpcSecurityGroupIds": {"VpcSubnetIds": "subnet-1a"},
    "AlarmTopicArn": {"AlarmEmail": ""},
}
BESIDE_NOTHING = {"AlarmEmail": {"AlarmTopicArn": TOPIC}}


def _beside(name: str, value: str) -> dict[str, str]:
    return (BESIDE if value else BESIDE_NOTHING).get(name, {})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_a_parameter_that_works_is_accepted(cloudformation: Creation, name: str, value: str) -> None:
    cloudformation(**{name: value}, **_beside(name, value))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_parameter_that_cannot_work_is_refused_with_what_it_must_be(
    cloudformation: Creation, name: str, value: str
) -> None:
    with pytest.raises(ClientError, match=f"'{name}' must be "):
        cloudformation(**{name: value}, **_beside(name, value))


@pytest.mark.parametrize("alone", [{"VpcSubnetIds": "subnet-1a"}, {"VpcSecurityGroupIds": "sg-1a"}], ids=str)
def test_subnets_and_security_groups_are_accepted_only_together(
    cloudformation: Creation, alone: dict[str, str]
) -> None:
    with pytest.raises(ClientError, match="Set both VpcSubnetIds and VpcSecurityGroupIds, or neither"):
        cloudformation(**alone)


@pytest.mark.parametrize("alarms", [{"AlarmEmail": ""}, {"AlarmTopicArn": TOPIC}], ids=["neither", "both"])
def test_a_stack_whose_alarms_nobody_hears_is_refused_with_what_to_set(
    cloudformation: Creation, alarms: dict[str, str]
) -> None:
    with pytest.raises(ClientError, match=r"Set either AlarmEmail .* or AlarmTopicArn .* nobody receives an alarm"):
        cloudformation(**alarms)


def test_the_defaults_with_a_machine_identity_and_an_address_are_accepted(cloudformation: Creation) -> None:
    cloudformation()
