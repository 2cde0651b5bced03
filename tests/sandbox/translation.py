"""template.yaml as CloudFormation gets it."""

from typing import Any

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from tests.sandbox.embedded_aws import ROOT


class _NoManagedPolicies:
    """SAM looks up AWS's managed policies by name; the template uses none."""

    def load(self) -> dict[str, str]:
        return {}


def translated() -> dict[str, Any]:
    """What SAM makes of the template."""
    template = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/artifact"
    result: dict[str, Any] = transform(template, {}, _NoManagedPolicies())
    return result
