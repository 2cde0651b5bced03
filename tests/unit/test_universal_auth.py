import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotator.infisical.auth_methods import universal_auth

ID, SECRET = "3c90c3cc-0d44-4b50-8888-8dd25736052a", "st.s3cr3t-value"
BODY = {"clientId": ID, "clientSecret": SECRET}

WHITE_SPACE = st.text(" \t\r\n", max_size=3)
# Infisical makes client ids (UUIDs) and client secrets (hexadecimal) of plain ASCII.
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)


def test_a_client_id_and_a_client_secret_log_in() -> None:
    login = universal_auth(json.dumps(BODY))

    assert (login.path, login.body) == ("/api/v1/auth/universal-auth/login", BODY)


def test_other_fields_of_the_identity_secret_are_not_sent() -> None:
    assert universal_auth(json.dumps(BODY | {"note": "rotates payments"})).body == BODY


@given(VALUES, VALUES, WHITE_SPACE, WHITE_SPACE)
def test_white_space_around_the_values_is_dropped_and_nothing_else_is(
    client_id: str, client_secret: str, before: str, after: str
) -> None:
    pasted = {"clientId": f"{before}{client_id}{after}", "clientSecret": f"{after}{client_secret}{before}"}

    assert universal_auth(json.dumps(pasted)).body == {"clientId": client_id, "clientSecret": client_secret}


def test_a_byte_order_mark_before_the_secret_is_dropped() -> None:
    assert universal_auth("\ufeff" + json.dumps(BODY)).body == BODY


@pytest.mark.parametrize("name", ["clientId", "clientSecret"])
@pytest.mark.parametrize(
    "value",
    ["ab\u200bcd", "\u200babc", "abc\ufeff", "ab\u00adcd", "\u202cabc", "abcé", "abc…", "abc def", "a\nb", "abc\ud800"],
    ids=ascii,
)
def test_a_value_with_a_character_that_infisical_never_uses_is_refused(name: str, value: str) -> None:
    """Or Infisical would count a failed login."""
    with pytest.raises(ValueError, match=rf"^the {name} in the machine identity's secret holds a character") as refused:
        universal_auth(json.dumps(BODY | {name: value}))

    assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (BODY, True),
        ({**BODY, "clientSecret": f"{SECRET}\n"}, True),
        ({**BODY, "clientSecret": "changed"}, False),
        ({**BODY, "clientId": "changed"}, False),
    ],
    ids=["same", "white space", "secret", "id"],
)
def test_credentials_are_the_same_where_both_values_are(other: dict[str, str], same: bool) -> None:  # noqa: FBT001 - a parameter
    refused, another = universal_auth(json.dumps(BODY)), universal_auth(json.dumps(other))

    assert (another.credentials == refused.credentials) is same
    assert (hash(another.credentials) == hash(refused.credentials)) is same


def test_a_login_has_no_readable_form() -> None:
    text = repr(universal_auth(json.dumps(BODY)))

    assert SECRET not in text
    assert ID not in text


@pytest.mark.parametrize("secret", ["", " ", SECRET, f'"{SECRET}"', f'["{SECRET}"]', "null", "7", f'{{"{SECRET}'])
def test_a_secret_that_is_not_an_object_is_refused_by_what_it_must_be(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^the machine identity's secret must be JSON: ") as refused:
        universal_auth(secret)

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("name", ["clientId", "clientSecret"])
@pytest.mark.parametrize("value", [None, "", " ", "\n", 7, True, [SECRET], {"value": SECRET}], ids=repr)
def test_a_missing_or_null_value_is_named_and_nothing_else_is_shown(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^the machine identity's secret has no {name}$"):
        universal_auth(json.dumps(BODY | {name: value}))


@pytest.mark.parametrize("name", ["clientId", "clientSecret"])
@pytest.mark.parametrize("other", ["client_id", "ClientId", "id"])
def test_a_value_of_another_name_is_none(name: str, other: str) -> None:
    fields = {key: value for key, value in BODY.items() if key != name}

    with pytest.raises(ValueError, match=rf"^the machine identity's secret has no {name}$"):
        universal_auth(json.dumps(fields | {other: SECRET}))


@given(st.text(min_size=5))
def test_an_error_about_a_secret_never_quotes_it(secret: str) -> None:
    with pytest.raises(ValueError, match="machine identity's secret") as refused:
        universal_auth(json.dumps({"clientSecret": secret}))

    assert str(refused.value) == "the machine identity's secret has no clientId"
    assert refused.value.__cause__ is None
