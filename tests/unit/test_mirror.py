"""The value of a secret that mirrors a key: with another key, it is the same text but for two values."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rotator.mirror.value import key_in, with_key
from rotator.model import AccessKey, MappedRotation, Mirror
from tests.unit.fakes import rotation_id

MIRROR = Mirror(MappedRotation(rotation_id(1)))
KEY = AccessKey("AKIA0000000000000001", "s3cr3t/new+key")
ID, SECRET = '"AKIA0000000000000001"', '"s3cr3t/new+key"'


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, f'{{"accessKeyId": {ID}, "secretAccessKey": {SECRET}}}'),
        ("{}", f'{{"accessKeyId": {ID}, "secretAccessKey": {SECRET}}}'),
        (" {\n} ", f' {{"accessKeyId": {ID}, "secretAccessKey": {SECRET}\n}} '),
        ('{"n": 1.10}', f'{{"n": 1.10, "accessKeyId": {ID}, "secretAccessKey": {SECRET}}}'),
        (
            '{"secretAccessKey":"old" ,"n":1E400,"accessKeyId": null}',
            f'{{"secretAccessKey":{SECRET} ,"n":1E400,"accessKeyId": {ID}}}',
        ),
        (
            '{"\\u0061ccessKeyId":"old","é":"\\u00e9","secretAccessKey":{"deep":[1]}}',
            f'{{"\\u0061ccessKeyId":{ID},"é":"\\u00e9","secretAccessKey":{SECRET}}}',
        ),
        (
            '{"accessKeyId": 1, "accessKeyId": 2}',
            f'{{"accessKeyId": {ID}, "accessKeyId": {ID}, "secretAccessKey": {SECRET}}}',
        ),
        ('{"n": ' + "9" * 5000 + "}", '{"n": ' + "9" * 5000 + f', "accessKeyId": {ID}, "secretAccessKey": {SECRET}}}'),
    ],
    ids=["no value", "empty", "empty lines", "a number", "both", "escapes", "twice", "a huge number"],
)
def test_a_value_with_another_key_is_the_same_text_but_for_the_key(value: str | None, written: str) -> None:
    assert with_key(value, MIRROR, KEY) == written


NAMES = st.sampled_from(['"a"', '"é"', '"\\ud800"', '"accessKeyId"', '"\\u0061ccessKeyId"', '"secretAccessKey"', '""'])
VALUES = st.sampled_from(
    ["1E400", "1.10", "-0", "NaN", "null", '"\\u00e9\\/"', '"é \U0001f600"', '"}"', '"\\""', "[1, 2 ]", '{"a" : [] }']
) | st.recursive(
    st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner)
).map(lambda value: json.dumps(value, ensure_ascii=False, indent=1))
SPACES = st.text(" \t\n\r", max_size=2)
NEW = {"accessKeyId": ID, "secretAccessKey": SECRET}


@given(st.lists(st.tuples(NAMES, VALUES, SPACES, SPACES), max_size=6), SPACES)
@example([], "")
def test_replacing_the_key_keeps_the_rest_of_the_value_byte_for_byte(
    members: list[tuple[str, str, str, str]], end: str
) -> None:
    def text(values: list[str], more: str) -> str:
        parts = [
            f"{before}{name}{before}:{after}{value}{after}"
            for (name, _, before, after), value in zip(members, values, strict=True)
        ]
        return f"{end}{{{','.join(parts)}{more}{end}}}{end}"

    names = [json.loads(name) for name, *_ in members]
    replaced = [NEW.get(name, value) for name, (_, value, *_) in zip(names, members, strict=True)]
    missing = [f'"{name}": {value}' for name, value in NEW.items() if name not in names]

    written = with_key(text([value for _, value, *_ in members], ""), MIRROR, KEY)

    read = key_in(written, MIRROR)
    assert read == KEY
    if not missing:
        assert written == text(replaced, "")
    else:  # after the last value, before the white space that follows it
        assert "".join(written.split()) == "".join(text(replaced, "," * bool(members) + ",".join(missing)).split())


@given(st.sampled_from([1, 1.5, None, True, [], {}]))
def test_a_field_that_is_not_a_string_is_not_a_key(value: object) -> None:
    assert key_in(json.dumps({"accessKeyId": value, "secretAccessKey": "x"}), MIRROR) is None
