"""Who may log in, with what, for how long, and what it opens."""

from typing import get_args

import pytest

from tests.contract.stage import CREDENTIALS, LOGIN, ROTATE, ROTATION, Stage, parsed, status_of
from tests.sandbox.standin.identities import Permission

INVALID = (401, "Invalid credentials")
LOCKED = (401, "This identity auth method is temporarily locked, please try again later")
OPEN = (200, None)


def log_in(stage: Stage, secret: str | None = None) -> tuple[int | None, str | None]:
    identity = stage.identity
    outcome = stage.send(
        "POST", LOGIN, {"clientId": identity.client_id, "clientSecret": secret or identity.client_secret}
    )
    return status_of(outcome), parsed(outcome).get("message")


def test_three_failures_lock_the_right_secret_out_for_five_minutes(stage: Stage) -> None:
    assert [log_in(stage, "wrong") for _ in range(3)] == [INVALID] * 3

    assert log_in(stage) == LOCKED
    stage.clock.sleep(299)
    assert log_in(stage) == LOCKED
    stage.clock.sleep(1)
    assert log_in(stage) == OPEN


def test_the_count_of_failures_ends_thirty_seconds_after_the_last_one(stage: Stage) -> None:
    """Each failure starts the time anew: backend/src/services/identity-ua/identity-ua-service.ts."""
    for _ in range(4):
        assert log_in(stage, "wrong") == INVALID
        stage.clock.sleep(30)
    assert log_in(stage) == OPEN

    tries = []
    for _ in range(3):
        tries.append(log_in(stage, "wrong"))
        stage.clock.sleep(29)
    assert tries == [INVALID] * 3
    assert log_in(stage) == LOCKED


def test_a_success_forgets_the_failures_before_it(stage: Stage) -> None:
    tries = [log_in(stage, secret) for secret in ("wrong", "wrong", None, "wrong", "wrong", None)]

    assert tries == [INVALID, INVALID, OPEN, INVALID, INVALID, OPEN]


def test_white_space_around_a_secret_makes_it_wrong(stage: Stage) -> None:
    assert log_in(stage, stage.identity.client_secret + "\n") == INVALID


def test_a_wrong_secret_from_an_address_that_is_not_trusted_is_not_counted(stage: Stage) -> None:
    stage.identity.closed_here = {"login"}
    assert [log_in(stage, "wrong")[0] for _ in range(3)] == [403] * 3

    stage.identity.closed_here = ()
    assert log_in(stage) == OPEN


def test_the_journal_knows_the_logins(stage: Stage) -> None:
    log_in(stage, "wrong")

    assert [entry.status for entry in stage.standin.logins] == [200, 401]


def test_a_field_that_is_not_a_string_is_named(stage: Stage) -> None:
    outcome = stage.send("POST", LOGIN, {"clientId": None, "clientSecret": 7})

    assert status_of(outcome) == 422
    assert [(issue["path"], issue["message"]) for issue in parsed(outcome)["message"]] == [
        (["clientId"], "Expected string, received null"),
        (["clientSecret"], "Expected string, received number"),
    ]


def test_a_token_lives_as_long_as_configured(stage: Stage) -> None:
    stage.token = stage.log_in(stage.standin.add_identity(token_ttl_seconds=60))
    stage.clock.sleep(59)
    assert status_of(stage.send("GET", ROTATION)) == 200

    stage.clock.sleep(1)
    assert parsed(stage.send("GET", ROTATION))["error"] == "TokenError"


def test_a_lifetime_of_zero_never_ends(stage: Stage) -> None:
    stage.token = stage.log_in(stage.standin.add_identity(token_ttl_seconds=0, token_max_ttl_seconds=0))
    stage.clock.sleep(366 * 86_400)

    assert status_of(stage.send("GET", ROTATION)) == 200


def test_a_renewed_token_lives_longer_up_to_its_maximum(stage: Stage) -> None:
    stage.token = stage.log_in(stage.standin.add_identity(token_ttl_seconds=60, token_max_ttl_seconds=100))
    stage.clock.sleep(40)
    renewed = stage.json("POST", "/api/v1/auth/token/renew", {"accessToken": stage.token})["accessToken"]
    stage.clock.sleep(59)

    assert status_of(stage.send("GET", ROTATION)) == 403
    stage.token = renewed
    assert status_of(stage.send("GET", ROTATION)) == 200
    assert status_of(stage.send("POST", "/api/v1/auth/token/renew", {"accessToken": renewed})) == 401


@pytest.mark.parametrize(("withdrawal", "status"), [("revoke_tokens", 401), ("expire_tokens", 403)])
def test_withdrawn_tokens_are_refused_and_new_ones_are_not(stage: Stage, withdrawal: str, status: int) -> None:
    getattr(stage.standin, withdrawal)()
    assert status_of(stage.rotate()) == status

    stage.token = stage.log_in(stage.identity)
    assert status_of(stage.rotate()) == 200


@pytest.mark.parametrize("token", ["a.b", "a.b.c", "a.e30.c.d", "é.é.é", "bm90IGpzb24.bm90IGpzb24.c", "bnVsbA.a.c"])
def test_a_text_that_is_not_a_token_is_malformed(stage: Stage, token: str) -> None:
    stage.token = token

    assert parsed(stage.rotate())["message"].startswith("The provided access token is malformed.")


@pytest.mark.parametrize("permission", get_args(Permission))
def test_a_permission_opens_its_own_door_only(stage: Stage, permission: Permission) -> None:
    stage.token = stage.log_in(stage.standin.add_identity({permission}))

    opened = {
        "read": status_of(stage.send("GET", ROTATION)) == 200,
        "rotate-secrets": status_of(stage.rotate()) == 200,
        "read-generated-credentials": status_of(stage.send("GET", CREDENTIALS)) == 200,
    }

    assert opened == {name: name == permission for name in get_args(Permission)}


def test_an_identity_of_one_environment_sees_no_other(stage: Stage) -> None:
    prod = stage.standin.add_rotation(user_name="other", environment="prod")
    stage.token = stage.log_in(stage.standin.add_identity(environments={"prod"}))

    listed = stage.json("GET", f"/api/v2/secret-rotations?projectId={prod.project_id}")["secretRotations"]

    assert [rotation["id"] for rotation in listed] == [prod.id]
    assert parsed(stage.send("POST", ROTATE))["error"] == "PermissionDenied"


def test_a_list_needs_a_member_who_may_read(stage: Stage) -> None:
    path = f"/api/v2/secret-rotations?projectId={stage.rotation.project_id}"
    stage.token = stage.log_in(stage.standin.add_identity(projects={"another"}))
    stranger = parsed(stage.send("GET", path))
    stage.token = stage.log_in(stage.standin.add_identity({"rotate-secrets"}))
    blind = parsed(stage.send("GET", path))

    assert stranger["message"] == "You are not allowed to access this resource"
    assert blind["message"] == "You are not allowed to read on secret-rotation"
