"""The stand-in answers as the server did: each recorded request is sent to it, in the state that it was made in."""

import json

import pytest

from tests.contract import documented
from tests.contract.recorded import OLDER_SERVER, Recording, Symbols, compared, load, names
from tests.contract.stage import Stage
from tests.contract.stories import STORIES, Together
from tests.sandbox.standin.answers import Dropped, Outcome
from tests.sandbox.standin.limits import RateLimits

RECORDED_CLIENT_IDS = ("d0d387db-f5c5-489c-919a-f9925dce88cf", "0fd5ae17-c5d1-4bf2-8ac8-25572406eee1")
RECORDED_IDENTITY_IDS = ("068e0c72-082c-4341-a7bf-39d8ebf4722b", "a8d163e5-cdb1-4dad-9ac9-6bff58f31eee")


@pytest.mark.parametrize("title", STORIES)
def test_the_stand_in_answers_as_the_server_did(title: str) -> None:
    stage = Stage(rate_limits=RateLimits(reads=60, writes=200) if title == "rate limits" else None)
    theirs, ours = Symbols(), Symbols()

    for step in STORIES[title]:
        if isinstance(step, str):
            step = Together((step,), apart_seconds=0)  # noqa: PLW2901 - one is a case of several
        if isinstance(step, Together):
            recordings = [load(name) for name in step.names]
            outcomes = send(stage, recordings, step.apart_seconds)
            for recording, outcome in zip(recordings, outcomes, strict=True):
                assert_same(recording, outcome, theirs, ours)
        else:
            step(stage)


def test_every_recording_of_the_newer_server_is_replayed() -> None:
    steps = [step for story in STORIES.values() for step in story]
    replayed = [step for step in steps if isinstance(step, str)]
    replayed += [name for step in steps if isinstance(step, Together) for name in step.names]

    assert sorted(replayed) == sorted(names() - OLDER_SERVER)


@pytest.mark.parametrize("name", sorted(names()))
def test_the_server_itself_keeps_the_documented_contract(name: str) -> None:
    recording = load(name)
    if recording.is_documented:
        documented.validate(recording.status, recording.body)


def send(stage: Stage, recordings: list[Recording], apart_seconds: float) -> list[Outcome]:
    begun = []
    for recording in recordings:
        headers = {key: filled(value, stage) for key, value in recording.request_headers.items()}
        body = filled(recording.request_body, stage).encode()
        begun.append(stage.standin.begin(recording.method, recording.path, headers, body))
        stage.clock.sleep(apart_seconds)
    return [stage.standin.wait_for(call) for call in begun]


def filled(text: str, stage: Stage) -> str:
    """Put in what was taken out of a recording."""
    text = text.replace("<token>", stage.token).replace("<jwt>", stage.token)
    text = text.replace("<client secret>", stage.identity.client_secret)
    text = text.replace("<base64 of the JSON in the note>", stage.signed_headers)
    for client_id in RECORDED_CLIENT_IDS:
        text = text.replace(client_id, stage.identity.client_id)
    for identity_id in RECORDED_IDENTITY_IDS:
        text = text.replace(identity_id, stage.identity.id)
    return text


def assert_same(recording: Recording, outcome: Outcome, theirs: Symbols, ours: Symbols) -> None:
    if isinstance(outcome, Dropped):
        assert recording.status is None
        return
    body = json.loads(outcome.body)
    assert (outcome.status, compared(outcome.headers)) == (recording.status, recording.headers)
    assert ours.normal(body) == theirs.normal(recording.body)
    if recording.is_documented:
        documented.validate(outcome.status, body)
