"""Infisical's answers about rotations, validated: no decision rests on an invalid field."""

import re

import httpx

from rotator.fields import Fields, parse_rotation_id, read_object, read_string
from rotator.infisical.errors import ForeignAnswerError, InvalidAnswerError, message_text
from rotator.model import AccessKey, GeneratedCredentials, ListedRotation, RotationState
from rotator.text import clip, printable
from rotator.timestamps import parse_timestamp

_USER_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)  # IAM's own rule


def parse_state(answer: Fields, rotation_id: str) -> RotationState:
    """Read the answer about one rotation.

    Raises ForeignAnswerError where it is about something else, and InvalidAnswerError naming an impossible field.
    """
    fields = answer.get("secretRotation")
    if not isinstance(fields, dict):
        raise ForeignAnswerError(httpx.codes.OK)
    try:
        state = _state(fields)
    except ValueError as error:
        raise InvalidAnswerError(f"Infisical's answer is wrong: {error}") from None
    if state.id != rotation_id:
        raise InvalidAnswerError(f"Infisical's answer is wrong: its id is another rotation's, {state.id}")
    return state


def parse_list(answer: Fields) -> list[ListedRotation | InvalidAnswerError]:
    """Read the answer about all rotations of a project; an error in place of each one that cannot be read.

    Raises ForeignAnswerError where it is about something else.
    """
    entries = answer.get("secretRotations")
    if not isinstance(entries, list):
        raise ForeignAnswerError(httpx.codes.OK)
    return [_listed(entry, position) for position, entry in enumerate(entries)]


def parse_credentials(answer: Fields, rotation_id: str) -> GeneratedCredentials:
    """Read the answer that holds key material. No error's text contains any of it.

    Raises InvalidAnswerError.
    """
    credentials, active = answer.get("generatedCredentials"), answer.get("activeIndex")
    if answer.get("rotationId") != rotation_id or not isinstance(credentials, list) or type(active) is not int:
        raise InvalidAnswerError(
            "Infisical's answer is wrong: rotationId, generatedCredentials or activeIndex is missing or invalid"
        )
    keys = [_key(credential) for credential in credentials]
    if not 0 <= active < len(keys):
        raise InvalidAnswerError("Infisical's answer is wrong: activeIndex is not an index of generatedCredentials")
    return GeneratedCredentials(keys[active], frozenset(key.id for key in keys))


def _key(fields: object) -> AccessKey:
    match fields:
        case {"accessKeyId": key_id, "secretAccessKey": secret} if key := AccessKey.parse(key_id, secret):
            return key
    raise InvalidAnswerError("Infisical's answer is wrong: generatedCredentials are not IAM access keys")


def _listed(entry: object, position: int) -> ListedRotation | InvalidAnswerError:
    """Read one rotation of a list. The fields of selectors are required; an invalid state is left out."""
    fields = entry if isinstance(entry, dict) else {}
    try:
        state = _state(fields)
    except ValueError:
        state = None
    try:
        return ListedRotation(
            id=parse_rotation_id(fields.get("id"), "id"),
            state=state,
            type=read_string(fields, "type"),
            project=read_string(fields, "projectId"),
            environment=read_string(read_object(fields, "environment"), "slug"),
            path=read_string(read_object(fields, "folder"), "path"),
        )
    except ValueError as error:
        place = f"secretRotations[{position}] ({clip(str(fields.get('id')), 36)})"
        return InvalidAnswerError(f"Infisical's answer is wrong: {place}: {error}")


def _state(fields: Fields) -> RotationState:
    return RotationState(
        id=parse_rotation_id(fields.get("id"), "id"),
        name=clip(read_string(fields, "name")),
        status=read_string(fields, "rotationStatus"),
        last_rotated_at=parse_timestamp(fields.get("lastRotatedAt"), "lastRotatedAt"),
        last_attempted_at=parse_timestamp(fields.get("lastRotationAttemptedAt"), "lastRotationAttemptedAt"),
        last_message=message_text(fields.get("lastRotationMessage")),
        auto_rotation=fields.get("isAutoRotationEnabled") is True,
        user_name=_user_name(fields.get("parameters")),
        connection_id=_connection_id(fields.get("connection")),
    )


def _user_name(parameters: object) -> str | None:
    name = parameters.get("userName") if isinstance(parameters, dict) else None
    return name if isinstance(name, str) and _USER_NAME.fullmatch(name) else None


def _connection_id(connection: object) -> str | None:
    connection_id = connection.get("id") if isinstance(connection, dict) else None
    return printable(connection_id) if isinstance(connection_id, str) else None
