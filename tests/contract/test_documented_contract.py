"""The validator of the published schema is able to object."""

import copy
from typing import Any

import pytest
from jsonschema import ValidationError

from tests.contract import documented
from tests.contract.recorded import load

ROTATED = load("rot-03-rotate-success").body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lastRotatedAt", "yesterday"),
        ("id", "not-a-uuid"),
        ("lastRotatedAt", None),
        ("rotationStatus", None),
        ("type", "postgres-credentials"),
        ("accessKeyId", "AKIA"),
    ],
)
def test_an_answer_that_breaks_the_contract_is_refused(field: str, value: Any) -> None:  # noqa: ANN401 - JSON
    answer = copy.deepcopy(ROTATED)
    answer["secretRotation"][field] = value

    with pytest.raises(ValidationError):
        documented.validate(200, answer)


@pytest.mark.parametrize("field", ["description", "lastRotationJobId", "nextRotationAt", "lastRotationMessage"])
def test_a_nullable_field_may_be_null(field: str) -> None:
    answer = copy.deepcopy(ROTATED)
    answer["secretRotation"][field] = None

    documented.validate(200, answer)
