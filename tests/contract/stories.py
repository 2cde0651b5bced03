"""The recordings in the order and the circumstances in which the server was recorded.

A story is a list of steps: a recording's name stands for its exchange; a function sets the scene for what follows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import uuid4

from tests.contract.aws_login import encoded, signed
from tests.contract.stage import ROTATION_ID, Stage
from tests.sandbox.standin.answers import Refusal
from tests.sandbox.standin.faults import Fails, Point, RotateFault, Slow, plan_restriction
from tests.sandbox.standin.identities import Door, Permission
from tests.sandbox.standin.limits import rate_limited_without_headers

ACCOUNT = "arn:aws:iam::123456789012"
SESSIONS = "arn:aws:sts::123456789012:assumed-role"


@dataclass(frozen=True)
class Together:
    """Requests of which none waits for the one before."""

    names: tuple[str, ...]
    apart_seconds: float


Scene = Callable[[Stage], object]
Step = str | Together | Scene


def fault(*faults: RotateFault) -> Scene:
    return lambda stage: stage.standin.faults.add(ROTATION_ID, *faults)


def wait(seconds: float) -> Scene:
    return lambda stage: stage.clock.sleep(seconds)


def rotated(times: int) -> Scene:
    return lambda stage: stage.rotated(times)


def walked_out(after_seconds: float) -> Scene:
    return lambda stage: stage.walk_out(after_seconds)


def caller(
    *permissions: Permission,
    projects: tuple[str, ...] | None = None,
    ttl: int = 7200,
    max_ttl: int = 7200,
    uses: int | None = None,
    principals: tuple[str, ...] | None = None,
) -> Scene:
    def log_in(stage: Stage) -> None:
        stage.identity = stage.standin.add_identity(
            permissions,
            projects=projects,
            allowed_principals=principals,
            token_ttl_seconds=ttl,
            token_max_ttl_seconds=max_ttl,
            token_use_limit=uses,
        )
        stage.token = stage.log_in(stage.identity)

    return log_in


def signed_by(
    arn: str,
    region: str = "us-east-1",
    *,
    secret: str | None = None,
    accept: str | None = None,
    without: str | None = None,
) -> Scene:
    """Have the next login show what `arn` signed: with another `secret`, with an Accept header, `without` a header."""

    def sign(stage: Stage) -> None:
        credentials = stage.memory_sts.issue(arn)
        headers = signed(
            credentials if secret is None else credentials._replace(secret_key=secret),
            region,
            {} if accept is None else {"Accept": accept},
        )
        stage.signed_headers = encoded({name: value for name, value in headers.items() if name != without})

    return sign


def badly_signed(stage: Stage) -> None:
    stage.token = stage.token[:-8] + "AAAAAAAA"


def tokens_revoked(stage: Stage) -> None:
    stage.standin.revoke_tokens()


def closed_here(door: Door) -> Scene:
    def close(stage: Stage) -> None:
        stage.identity.closed_here = {door}

    return close


def member_of(organization: str) -> Scene:
    def join(stage: Stage) -> None:
        stage.identity.organizations = {organization}

    return join


def next_login_refused(refusal: Refusal) -> Scene:
    return lambda stage: stage.standin.refuse_logins(refusal)


def plan_restricted(stage: Stage) -> None:
    stage.standin.plan_has_rotations = False


def user_deleted(stage: Stage) -> None:
    stage.keys.missing_users.add("app-user")


def user_restored(stage: Stage) -> None:
    stage.keys.missing_users.clear()


def calls_of_an_unknown_rotation(times: int) -> Scene:
    def send(stage: Stage) -> None:
        for _ in range(times):
            stage.send("POST", f"/api/v2/secret-rotations/aws-iam-user-secret/{uuid4()}/rotate-secrets")

    return send


def logged_in_again(stage: Stage) -> None:
    stage.log_in(stage.identity)


STORIES: Mapping[str, list[Step]] = {
    "rotating": [
        "rot-01-get-before",
        "rot-02-generated-credentials-before",
        "rot-03-rotate-success",
        "rot-04-get-after",
        "rot-05-generated-credentials-after",
        "rot-06-rotate-success-2",
        "rot-07-generated-credentials-after-2",
        "rot-08-list",
        "rot-09-list-no-project-id",
        caller("read", "rotate-secrets"),
        "rot-10-generated-credentials-forbidden-for-rotator",
    ],
    "rotating five times": [
        rotated(1),
        "seq-1-of-5",
        "seq-2-of-5",
        "seq-3-of-5",
        "seq-4-of-5",
        "seq-5-of-5",
        "seq-generated-credentials-after",
    ],
    "bodies": [
        "body-01-json-content-type-empty-body",
        "body-02-json-content-type-length-0",
        "body-03-json-empty-object",
        "body-04-form",
        "body-05-text-plain",
        "body-06-octet-stream",
        "body-07-trailing-slash",
        "body-08b-get-instead-of-post-newer-server",
    ],
    "two at once, both rotate": [
        rotated(2),
        Together(
            ("conc-a-two-simultaneous-fast-provider-2", "conc-a-two-simultaneous-fast-provider-1"), apart_seconds=0.003
        ),
        "conc-a-get-after",
    ],
    "two at once, one is in progress": [
        rotated(1),
        fault(Slow(2)),
        Together(
            ("conc-b-two-simultaneous-slow-provider-2", "conc-b-two-simultaneous-slow-provider-1"), apart_seconds=0.01
        ),
        "conc-b-get-after",
    ],
    "a second call half a second later": [
        rotated(2),
        fault(Slow(2)),
        Together(
            ("conc-c-second-500ms-later-slow-provider-1", "conc-c-second-500ms-later-slow-provider-2"),
            apart_seconds=0.5,
        ),
        "conc-c-get-after",
    ],
    "four at once, one loses the race for the lock": [
        rotated(2),
        fault(Slow(3)),
        Together(
            ("conc-d-lock-race-3", "conc-d-lock-race-1", "conc-d-lock-race-2", "conc-d-lock-race-4"),
            apart_seconds=0.003,
        ),
        "conc-d-get-after",
    ],
    "a client that leaves": [
        rotated(3),
        "abort-01-get-before",
        fault(Slow(3)),
        walked_out(0.5),
        "abort-02-rotate-while-orphan-runs",
        wait(3),
        "abort-03-get-after",
    ],
    "a slow provider": [
        rotated(2),
        "slow-01-get-before",
        fault(Slow(35)),
        "slow-02-rotate-provider-35s",
        wait(10),
        "slow-03-get-after",
        fault(Slow(65)),
        walked_out(31),
        wait(35),
        "slow-05-get-after-longer-than-lock-ttl",
    ],
    "a provider that fails": [
        rotated(2),
        user_deleted,
        "prov-01-iam-user-deleted",
        "prov-02-get-after-failure",
        "prov-03-generated-after-failure",
        user_restored,
        "prov-04-rotate-after-recovery",
        "prov-05-get-after-recovery",
        rotated(1),
        fault(Fails(Point.BEFORE, "connect ECONNREFUSED 127.0.0.1:15555")),
        "prov-06-provider-unreachable",
        "prov-07-get-after-unreachable",
        "prov-08-rotate-after-provider-back",
    ],
    "errors": [
        "err-01-unknown-uuid",
        "err-02-not-a-uuid",
        "err-03-no-token",
        "err-04-malformed-token",
        "err-08-wrong-rotation-type-slug",
        "err-09b-unknown-type-slug-newer-server",
        "err-10-empty-bearer",
        "err-11-basic-auth",
        "err-12-not-uuid-and-no-token",
        fault(plan_restriction()),
        "err-15-plan-restriction",
        fault(Slow(3)),
        walked_out(1),
        "err-16-rotation-in-progress",
    ],
    "a plan without secret rotation": [
        plan_restricted,
        "plan-01-get",
        "plan-02-generated-credentials",
        "plan-03-list",
        "plan-04-unknown-uuid",
        caller("rotate-secrets", projects=()),
        "plan-05-identity-not-in-project",
    ],
    "a badly signed token": [badly_signed, "err-05-bad-signature"],
    "an expired token": [caller("rotate-secrets", ttl=10), wait(10), "err-13-expired-token"],
    "a revoked token": [tokens_revoked, "err-14-revoked-token"],
    "no permission": [caller("read"), "err-06-no-permission-viewer"],
    "not in the project": [caller("rotate-secrets", projects=()), "err-07-identity-not-in-project"],
    "logging in": [
        "auth-ua-01-login-success",
        "auth-ua-02-wrong-secret",
        "auth-ua-03b-unknown-client-id-newer-server",
        "auth-ua-04-missing-fields",
        "auth-ua-05-bad-json",
        "auth-ua-06-form-encoded",
        "auth-ua-07-text-plain",
        member_of("payments"),
        "auth-ua-10-organization-slug",
        "auth-ua-11-unknown-organization",
        next_login_refused(rate_limited_without_headers()),
        "limit-05-login-429-without-headers",
        closed_here("login"),
        "auth-ua-08-untrusted-address",
    ],
    "a token that does not expire": [caller(ttl=0, max_ttl=0), "auth-ua-09-token-without-end"],
    "an address that is not trusted": [
        closed_here("call"),
        "err-17-untrusted-address-get",
        "err-18-untrusted-address-rotate",
    ],
    "logging in as somebody in AWS": [
        caller(principals=(f"{ACCOUNT}:user/deployer", f"{ACCOUNT}:role/rotator")),
        signed_by(f"{ACCOUNT}:user/deployer"),
        "auth-aws-01-login-iam-user-success",
        signed_by(f"{SESSIONS}/rotator/rotate", "eu-west-1"),
        "auth-aws-02-login-lambda-assumed-role-success",
        signed_by(f"{SESSIONS}/other-role/rotate", "eu-west-1"),
        "auth-aws-03-principal-not-allowed",
        signed_by(f"{ACCOUNT}:user/deployer", without="Authorization"),
        "auth-aws-05-no-authorization-header",
        "auth-aws-06-garbage-base64",
        "auth-aws-07-identity-id-not-uuid",
        signed_by(f"{ACCOUNT}:user/deployer", accept="*/*"),
        "auth-aws-08-accept-star-in-signed-headers-gives-xml",
        signed_by(f"{ACCOUNT}:user/deployer", secret="wrong"),
        "auth-aws-09-sts-403-signature-mismatch",
        signed_by(f"{ACCOUNT}:user/deployer", "this-is-a-very-long-region-name"),
        "auth-aws-10-weird-region",
        caller(),
        signed_by(f"{ACCOUNT}:user/deployer"),
        "auth-aws-04-identity-without-aws-auth",
    ],
    "renewing a token": [
        caller(ttl=2, max_ttl=30),
        "auth-token-01-renew-success",
        caller(ttl=30, max_ttl=30),
        wait(1),
        "auth-token-01b-renew-ttl-equals-max-ttl",
        wait(29),
        "auth-token-02-renew-expired",
    ],
    "revoking a token": ["auth-token-03-revoke", "auth-token-04-renew-revoked"],
    "a token for two uses": [
        caller("read", uses=2),
        "auth-token-05-use-limit-2-call-1",
        "auth-token-05-use-limit-2-call-2",
        "auth-token-05-use-limit-2-call-3",
        "auth-token-05-use-limit-2-call-4",
    ],
    "rate limits": [
        logged_in_again,  # every stage begins with a login; the recorded one was the third of its window
        wait(1),
        "limit-01-first",
        calls_of_an_unknown_rotation(199),
        wait(1),
        "limit-02-rate-limited-429",
        "limit-03-login-limited-too",
        "limit-04-get-own-bucket",
    ],
}
