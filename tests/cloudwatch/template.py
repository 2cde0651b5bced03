"""The alarms of the template that CloudFormation gets, for one choice of parameters."""

import re
from collections.abc import Mapping
from typing import Any

from tests.cloudwatch.evaluation import Alarm, Missing
from tests.cloudwatch.metrics import Expression, MetricName, Statistic, filled
from tests.sandbox.embedded_aws import ACCOUNT, REGION
from tests.sandbox.translation import translated

STACK = "infisical-rotation"
CHOSEN = {
    "MachineIdentityId": "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00aa",
    "MirroredSecretArns": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:mirror/*",  # so that there is a hook
    "RetireAfterDays": "14",  # so that there is the function retire
    "AlarmEmail": "on-call@example.com",
}
PSEUDO = {
    "AWS::StackName": STACK,
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::NoValue": None,
}


class Resolver:
    """CloudFormation's functions, as far as alarms use them. A resource's names and ARNs are made of its logical id."""

    def __init__(self, template: Mapping[str, Any], chosen: Mapping[str, str]) -> None:
        self._parameters = {name: each.get("Default") for name, each in template["Parameters"].items()} | dict(chosen)
        self._conditions: Mapping[str, Any] = template["Conditions"]
        self._resources: Mapping[str, Any] = template["Resources"]

    def holds(self, condition: str | None) -> bool:
        return condition is None or bool(self.value(self._conditions[condition]))

    def value(self, part: Any) -> Any:  # noqa: ANN401 - any part of a template
        if isinstance(part, list):
            values = [self.value(each) for each in part]
            return [
                each
                for each, of in zip(values, part, strict=True)
                if of != {"Ref": "AWS::NoValue"} and each is not None
            ]
        if not isinstance(part, dict):
            return part
        if len(part) == 1:
            ((name, argument),) = part.items()
            if name in {"Ref", "Condition"} or name.startswith("Fn::"):
                return self._call(name, argument)
        return {key: self.value(each) for key, each in part.items()}

    def _arn(self, logical_id: str) -> str:
        """The ARN of an alarm; of a rule, by https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-manage-iam-access.html."""
        if self._resources[logical_id]["Type"] == "AWS::CloudWatch::Alarm":
            return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{logical_id}"
        bus = self.value(self._resources[logical_id]["Properties"].get("EventBusName", "default"))
        path = logical_id if bus == "default" else f"{bus}/{logical_id}"
        return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{path}"

    def _substituted(self, text: str, given: Mapping[str, Any] | None = None) -> str:
        values = {name: self.value(part) for name, part in (given or {}).items()}

        def value(found: re.Match[str]) -> str:
            name, _, attribute = found[1].partition(".")
            if name in values:
                return str(values[name])
            return str(self._call("Fn::GetAtt", [name, attribute]) if attribute else self._call("Ref", name))

        return re.sub(r"\$\{([\w:.]+)\}", value, text)

    def _call(self, name: str, argument: Any) -> Any:  # noqa: ANN401, C901, PLR0911 - one line a function
        match name:
            case "Ref":
                return PSEUDO[argument] if argument in PSEUDO else self._parameters.get(argument, argument)
            case "Fn::GetAtt":
                return argument[0] if argument[1] == "QueueName" else self._arn(argument[0])
            case "Condition":
                return self.holds(argument)
            case "Fn::If":
                return self.value(argument[1 if self.holds(argument[0]) else 2])
            case "Fn::Equals":
                one, other = self.value(argument)
                return one == other
            case "Fn::Not":
                return not self.value(argument[0])
            case "Fn::And":
                return all(self.value(each) for each in argument)
            case "Fn::Or":
                return any(self.value(each) for each in argument)
            case "Fn::Sub":
                return self._substituted(*([argument] if isinstance(argument, str) else argument))
            case "Fn::Select":
                return self.value(argument[1])[int(argument[0])]
            case "Fn::Split":
                return self.value(argument[1]).split(argument[0])
        raise ValueError(f"teach tests/cloudwatch/template.py the function {name}")


def alarms(chosen: Mapping[str, str] = CHOSEN) -> list[Alarm]:
    """Every alarm of the stack, by its logical id without `Alarm`."""
    template = translated()
    resolver = Resolver(template, chosen)
    return [
        _alarm(logical_id.removesuffix("Alarm"), resolver.value(each["Properties"]))
        for logical_id, each in template["Resources"].items()
        if each["Type"] == "AWS::CloudWatch::Alarm" and resolver.holds(each.get("Condition"))
    ]


def _alarm(name: str, properties: Mapping[str, Any]) -> Alarm:
    watches, period = _watched(properties)
    return Alarm(
        name=name,
        watches=watches,
        period_minutes=period // 60,
        evaluation_periods=properties["EvaluationPeriods"],
        datapoints_to_alarm=properties.get("DatapointsToAlarm", properties["EvaluationPeriods"]),
        comparison=properties["ComparisonOperator"],
        threshold=properties["Threshold"],
        missing=Missing(properties.get("TreatMissingData", "missing")),
        warm_up_minutes=properties.get("WarmUpConfiguration", {}).get("WarmUpPeriodDurationInMinutes", 0),
        actions=tuple(properties.get("AlarmActions", ())),
    )


def _watched(properties: Mapping[str, Any]) -> tuple[Expression, int]:
    if "Metrics" not in properties:
        return Statistic(_metric(properties), properties["Statistic"]), properties["Period"]
    (expression,) = [each["Expression"] for each in properties["Metrics"] if each.get("ReturnData", True)]
    stats = [each["MetricStat"] for each in properties["Metrics"] if "MetricStat" in each]
    (period,) = {each["Period"] for each in stats}  # AWS requires that all have the same
    return filled(expression, [Statistic(_metric(each["Metric"]), each["Stat"]) for each in stats]), period


def _metric(part: Mapping[str, Any]) -> MetricName:
    dimensions = frozenset((each["Name"], str(each["Value"])) for each in part["Dimensions"])
    return MetricName(part["Namespace"], part["MetricName"], dimensions)
