"""What the built template says, beside what `tests.runtime.functions` reads of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from tests.runtime.functions import Function, built_functions

ALARM = "AWS::CloudWatch::Alarm"


@dataclass(frozen=True)
class Built:
    """The application as it was built: its functions by their logical ids, and the rest of its template."""

    folder: Path
    functions: Mapping[str, Function]
    template: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Built":
        return cls(folder, built_functions(folder), yaml_parse((folder / "template.yaml").read_text()))

    def memory_gigabytes(self, function: str) -> float:
        """What Lambda bills the function's time with."""
        common = self.template["Globals"]["Function"]["MemorySize"]
        megabytes: int = self.template["Resources"][function]["Properties"].get("MemorySize", common)
        return megabytes / 1024

    @property
    def maximum_concurrency(self) -> int:
        """How many batches are worked at the same time, unless told."""
        return int(self.template["Parameters"]["MaximumConcurrency"]["Default"])

    @property
    def batch_size(self) -> int:
        """How many requests a batch holds at most."""
        events = self.template["Resources"]["RotateFunction"]["Properties"]["Events"]
        return int(events["Requests"]["Properties"]["BatchSize"])

    def queue(self, name: str) -> Mapping[str, Any]:
        """A queue's properties."""
        properties: Mapping[str, Any] = self.template["Resources"][name]["Properties"]
        return properties

    @property
    def alarmed_metrics(self) -> int:
        """How many metrics the alarms watch, the optional ones too: CloudWatch bills an alarm for each of them."""
        alarms = [each["Properties"] for each in self.template["Resources"].values() if each["Type"] == ALARM]
        return sum(str(alarm["Metrics"]).count("'MetricStat'") if "Metrics" in alarm else 1 for alarm in alarms)

    def count(self, resource_type: str) -> int:
        """How many resources of a type there are, the optional ones too."""
        return sum(each["Type"] == resource_type for each in self.template["Resources"].values())
