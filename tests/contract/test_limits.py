from tests.contract.stage import LOGIN, ROTATION, Stage, status_of
from tests.sandbox.standin.answers import Answer
from tests.sandbox.standin.limits import RateLimits


def test_a_full_window_refuses_without_executing_and_the_next_one_is_open() -> None:
    stage = Stage(rate_limits=RateLimits(reads=9, writes=1))
    first, second = stage.rotate(), stage.rotate()
    stage.clock.sleep(60)
    third = stage.rotate()

    assert [status_of(outcome) for outcome in (first, second, third)] == [200, 429, 200]
    assert len(stage.key_ids()) + len(stage.keys.deleted) == 3  # the first key and two rotations


def test_the_rest_of_a_window_is_reported_in_full_seconds() -> None:
    stage = Stage(rate_limits=RateLimits(reads=2, writes=1))
    stage.send("GET", ROTATION)
    stage.clock.sleep(0.5)

    outcome = stage.send("GET", ROTATION)

    assert isinstance(outcome, Answer)
    assert (outcome.headers["x-ratelimit-remaining"], outcome.headers["x-ratelimit-reset"]) == ("0", "60")


def test_reads_rotations_and_logins_count_for_themselves() -> None:
    stage = Stage(rate_limits=RateLimits(reads=1, writes=1))  # the stage has logged in once
    statuses = [
        status_of(stage.rotate()),
        status_of(stage.send("GET", ROTATION)),
        status_of(stage.send("POST", LOGIN, {})),
    ]

    assert statuses == [200, 200, 429]


def test_a_refused_token_does_not_count() -> None:
    stage = Stage(rate_limits=RateLimits(reads=1, writes=1))
    token, stage.token = stage.token, "none"
    stage.rotate()
    stage.token = token

    assert status_of(stage.rotate()) == 200


def test_a_server_without_limits_sends_no_limit_headers(stage: Stage) -> None:
    outcome = stage.rotate()

    assert isinstance(outcome, Answer)
    assert not [name for name in outcome.headers if name.startswith("x-ratelimit")]
