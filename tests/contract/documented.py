"""The published schema of rotate-secrets, as a validator."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

CONTRACT = json.loads((Path(__file__).parent / "rotate-secrets.contract.json").read_text())


def validate(status: int | None, payload: object) -> None:
    """Raise jsonschema.ValidationError, or KeyError for a status that is not documented."""
    Draft202012Validator(SCHEMAS[status], format_checker=FormatChecker()).validate(payload)


def _without_nullable(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Say in JSON Schema's terms what OpenAPI 3.0 says with `nullable`."""
    if isinstance(schema, list):
        return [_without_nullable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _without_nullable(value) for key, value in schema.items() if key != "nullable"}
    return {**converted, "type": [schema["type"], "null"]} if schema.get("nullable") is True else converted


SCHEMAS: dict[int | None, Any] = {
    int(status): _without_nullable(schema) for status, schema in CONTRACT["responses"].items()
}
