"""The machine identity's logins: one for however many threads ask, none in a loop, nothing of it in any text."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from rotator.infisical.auth_methods import universal_auth
from rotator.infisical.client import USER_AGENT
from rotator.infisical.errors import UnreachableError
from rotator.infisical.login import FAILURE_MEMORY_SECONDS, LOCK_MEMORY_SECONDS, REFUSAL_MEMORY_SECONDS, Login
from rotator.rotation.attempt import Result
from tests.component.world import World
from tests.sandbox.standin.transport import StandInTransport


@pytest.fixture
def world() -> World:
    return World()


def test_one_login_serves_all_requests(world: World) -> None:
    for _ in range(20):
        world.ensure()

    assert len(world.server.logins) == 1


def test_one_login_serves_all_concurrent_threads() -> None:
    world = World(guarded=False)  # which would refuse one that is overtaken: the queue lets no two be worked at once

    with ThreadPoolExecutor(10) as pool:
        outcomes = list(pool.map(lambda _: world.ensure(), range(50)))

    assert {outcome.result for outcome in outcomes} <= {Result.ROTATED, Result.SKIPPED, Result.DEFERRED}
    assert len(world.server.logins) == 1


def test_threads_that_lost_their_token_share_one_new_login(world: World) -> None:
    world.ensure()
    world.server.revoke_tokens()

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: world.ensure(), range(50)))

    assert len(world.server.logins) == 2


def test_a_token_is_renewed_shortly_before_it_expires() -> None:
    world = World(token_ttl_seconds=600)
    world.ensure()
    world.clock.sleep(530)
    world.ensure()
    assert len(world.server.logins) == 1

    world.clock.sleep(15)
    world.ensure()

    assert len(world.server.logins) == 2
    assert [entry.status for entry in world.server.requests if entry.status != 200] == []


def test_a_very_short_life_of_a_token_does_not_log_in_for_every_request() -> None:
    world = World(token_ttl_seconds=30)

    world.ensure()

    assert len(world.server.logins) == 1


@pytest.mark.parametrize("lose", ["expire_tokens", "revoke_tokens"])
def test_a_lost_token_costs_one_login_and_the_request_goes_on(world: World, lose: str) -> None:
    world.ensure(world.request())
    getattr(world.server, lose)()
    world.clock.sleep(7200 * 7)

    assert world.ensure().result is Result.ROTATED
    assert len(world.server.logins) == 2


def test_a_refused_login_is_a_clear_no_and_never_looped(world: World) -> None:
    world.client_secret = "wrong"

    outcomes = [world.ensure() for _ in range(10)]

    assert {(outcome.result, outcome.reason) for outcome in outcomes} == {(Result.FAILED, "LoginRefused")}
    assert "Invalid credentials" in outcomes[-1].explanation
    assert len(world.server.logins) == 1


def test_an_unknown_client_id_is_not_a_missing_rotation(world: World) -> None:
    world.client_id = "0fd5ae17-c5d1-4bf2-8ac8-25572406eee1"

    assert world.ensure().reason == "LoginRefused"


def test_a_refused_login_is_tried_again_when_the_lock_is_over(world: World) -> None:
    right, world.client_secret = world.client_secret, "wrong"
    world.ensure()
    world.clock.sleep(REFUSAL_MEMORY_SECONDS)
    world.client_secret = right

    assert world.ensure().result is Result.ROTATED


def test_corrected_credentials_are_tried_at_once(world: World) -> None:
    right, world.client_secret = world.client_secret, "wrong"
    world.ensure()
    world.client_secret = right

    assert world.ensure().result is Result.ROTATED


def test_a_login_that_is_rate_limited_or_unanswered_leaves_the_request_undone(world: World) -> None:
    answers = iter([429, 500, 503, 200])
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(next(answers), headers={"retry-after": "3600"}, json={"accessToken": ""})

    outcomes = []
    for _ in range(4):
        world.use_transport(httpx.MockTransport(answer))
        outcomes += [world.ensure(), world.ensure()]

    assert [(outcome.result, outcome.reason) for outcome in outcomes] == [
        *[(Result.DEFERRED, "RateLimited")] * 2,
        *[(Result.DEFERRED, "Unreachable")] * 6,
    ]
    assert len(sent) == 4, "whoever comes shortly after does not try again"


def test_a_login_that_failed_is_tried_again_soon(world: World) -> None:
    def unreadable() -> Login:
        raise UnreachableError("no secret")

    world.login, login = unreadable, world.login
    world.ensure()
    world.login = login
    assert world.ensure().reason == "Unreachable"

    world.clock.sleep(FAILURE_MEMORY_SECONDS)

    assert world.ensure().result is Result.ROTATED


def test_threads_that_wait_for_a_login_share_its_failure(world: World) -> None:
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise httpx.ReadTimeout("slow", request=request)

    world.use_transport(httpx.MockTransport(answer))
    with ThreadPoolExecutor(10) as pool:
        reasons = {outcome.reason for outcome in pool.map(lambda _: world.ensure(), range(10))}

    assert reasons == {"Unreachable"}
    assert len(sent) == 1


def test_a_locked_identity_is_not_a_refusal(world: World) -> None:
    right, world.client_secret = world.client_secret, "wrong"
    for _ in range(3):
        world.use_transport(StandInTransport(world.server))  # three processes, each without the others' memory
        world.ensure()
    world.client_secret = right

    outcome = world.ensure()
    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "Unreachable")
    assert "locked" in outcome.explanation

    world.clock.sleep(300 + LOCK_MEMORY_SECONDS)
    assert world.ensure().result is Result.ROTATED


def test_a_token_that_cannot_stand_in_a_header_is_never_shown(world: World) -> None:
    world.use_transport(
        httpx.MockTransport(lambda _: httpx.Response(200, json={"accessToken": "s3cr3t-token\n", "expiresIn": 60}))
    )

    outcome = world.ensure()

    assert outcome.reason == "Unreachable"
    assert "s3cr3t-token" not in outcome.explanation


def test_a_login_that_is_cut_off_is_not_taken_for_a_rotation_that_was(world: World) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    world.use_transport(httpx.MockTransport(answer))

    assert world.ensure().reason == "Unreachable"


def test_a_secret_that_cannot_be_read_leaves_the_request_undone(world: World) -> None:
    def unreadable() -> Login:
        raise UnreachableError("the machine identity's secret is of no use: AccessDenied")

    world.login = unreadable

    outcome = world.ensure()

    assert (outcome.result, outcome.reason) == (Result.DEFERRED, "Unreachable")
    assert world.server.requests == []


def test_no_token_follows_a_redirect_to_another_host(world: World) -> None:
    hosts = []

    def answer(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(302, headers={"location": "https://elsewhere.test/"})

    world.use_transport(httpx.MockTransport(answer))

    assert world.ensure().reason == "Unreachable"
    assert set(hosts) == {"infisical.test"}


def test_white_space_around_credentials_is_dropped() -> None:
    login = universal_auth('{"clientId": " id\\n", "clientSecret": "\\tsecret\\r\\n"}')

    assert login.body == {"clientId": "id", "clientSecret": "secret"}


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "s3cr3t-value",
        '"s3cr3t-value"',
        '["s3cr3t-value"]',
        '{"clientId": "s3cr3t-value"}',
        '{"clientId": "s3cr3t-value", "clientSecret": ""}',
        '{"clientId": "s3cr3t-value", "clientSecret": 7}',
        '{"clientId": "s3cr3t-value",',
    ],
)
def test_a_wrong_secret_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValueError, match="machine identity's secret") as refused:
        universal_auth(secret)

    assert "s3cr3t-value" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_credentials_and_tokens_have_no_readable_form(world: World) -> None:
    world.ensure()

    texts = repr(world.login()) + repr(world.auth) + repr(vars(world.auth))

    assert [secret for secret in world.server.secrets if secret in texts] == []


def test_every_request_carries_the_user_agent(world: World) -> None:
    agents = []

    def answer(request: httpx.Request) -> httpx.Response:
        agents.append(request.headers["user-agent"])
        return server.handle_request(request)

    server = StandInTransport(world.server)
    world.use_transport(httpx.MockTransport(answer))
    world.ensure()

    assert len(agents) == 3  # the login, the read, the rotation
    assert set(agents) == {USER_AGENT}
