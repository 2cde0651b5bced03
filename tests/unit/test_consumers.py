"""The functions of examples/consumers: when they act, and when they leave things as they are."""

import base64
import itertools
import json
import logging
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st
from samcli.yamlhelper import yaml_parse

import redeploy
import renew
import restart
from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.kubernetes import Cluster, cluster

RECIPES = ROOT / "examples" / "consumers"
ROTATED_AT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NOW = ROTATED_AT + timedelta(minutes=11)
SETTLED = ROTATED_AT + timedelta(seconds=60)
JUST_BEFORE = SETTLED - timedelta(seconds=1)
WAIT = timedelta(seconds=660)


def batch(*moments: datetime) -> dict[str, Any]:
    return {
        "Records": [
            {"body": json.dumps({"last_rotated_at": moment.isoformat().replace("+00:00", "Z")})} for moment in moments
        ]
    }


@pytest.fixture(autouse=True)
def _logs(caplog: pytest.LogCaptureFixture) -> None:
    """Log as in Lambda: a message whose arguments do not fit is an error."""
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("recipe", [redeploy, renew, restart])
def test_the_newest_rotation_of_a_batch_decides(recipe: ModuleType) -> None:
    assert recipe.newest_rotation(batch(ROTATED_AT, NOW, SETTLED)) == NOW


def stubbed(service: Any) -> tuple[Any, Stubber]:  # noqa: ANN401 - one of boto3's many
    client: Any = boto3.client(service, aws_access_key_id="a", aws_secret_access_key="b")
    return client, Stubber(client)


class TestEcs:
    @staticmethod
    def service(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - as ECS describes it
        deployments = [
            {"status": "PRIMARY", "id": "ecs-svc/2", "createdAt": SETTLED, **fields.pop("primary", {})},
            {"status": "ACTIVE", "id": "ecs-svc/1", "createdAt": NOW},
        ]
        return {"serviceName": "payments", "status": "ACTIVE", "deployments": deployments, **fields}

    @staticmethod
    def run(*services: dict[str, Any], deploys: bool = False) -> list[float]:
        """Let it decide about what ECS describes; return how long it slept."""
        ecs, stub = stubbed("ecs")
        slept: list[float] = []
        asked: dict[str, Any] = {"cluster": "shop", "services": ["payments"]}
        failures = [] if services else [{"arn": "payments", "reason": "MISSING"}]
        stub.add_response("describe_services", {"services": list(services), "failures": failures}, asked)
        if deploys:
            asked = {"cluster": "shop", "service": "payments", "forceNewDeployment": True}
            stub.add_response("update_service", {}, asked)
        with stub:
            redeploy.redeploy(ecs, "shop", "payments", ROTATED_AT, slept.append)
        stub.assert_no_pending_responses()
        return slept

    def test_a_deployment_after_the_rotation_stays(self) -> None:
        assert self.run(self.service(primary={"createdAt": SETTLED})) == []

    def test_a_deployment_too_soon_after_the_rotation_is_replaced(self) -> None:
        slept = self.run(self.service(primary={"createdAt": JUST_BEFORE}), deploys=True)

        assert slept == [redeploy.CONSISTENT_SECONDS], "the next batch must see this deployment"

    def test_a_failed_deployment_is_replaced(self) -> None:
        self.run(self.service(primary={"createdAt": NOW, "rolloutState": "FAILED"}), deploys=True)

    @pytest.mark.parametrize(
        "services",
        [
            [],
            [{"status": "INACTIVE"}],
            [{"deploymentController": {"type": "CODE_DEPLOY"}}],
        ],
    )
    def test_a_service_that_ecs_cannot_deploy_is_an_error(self, services: list[dict[str, Any]]) -> None:
        with pytest.raises(ValueError, match="payments"):
            self.run(*(self.service(**fields) for fields in services))


class TestLambda:
    @staticmethod
    def run(written: dict[str, str] | None, **configuration: object) -> None:
        """Let it decide about a function; `written` are the variables that it has to write."""
        client, stub = stubbed("lambda")
        found = {"LastModified": "2026-11-25T12:00:00.000+0000", "RevisionId": "r1", **configuration}
        stub.add_response("get_function_configuration", found, {"FunctionName": "payments"})
        if written is not None:
            asked = {"FunctionName": "payments", "RevisionId": "r1", "Environment": {"Variables": written}}
            stub.add_response("update_function_configuration", {}, asked)
        with stub:
            renew.renew(client, "payments", ROTATED_AT, NOW)
        stub.assert_no_pending_responses()

    def test_a_function_that_was_changed_after_the_rotation_stays(self) -> None:
        self.run(None, LastModified="2026-11-25T12:01:00.000+0000")

    def test_the_other_variables_are_kept(self) -> None:
        variables = {"A": "1", renew.VARIABLE: "earlier"}
        self.run({"A": "1", renew.VARIABLE: NOW.isoformat()}, Environment={"Variables": variables})

    def test_a_function_without_variables_gets_one(self) -> None:
        self.run({renew.VARIABLE: NOW.isoformat()})

    def test_a_change_that_failed_does_not_count(self) -> None:
        changed = {"LastModified": "2026-11-25T12:05:00.000+0000", "LastUpdateStatus": "Failed"}
        self.run({renew.VARIABLE: NOW.isoformat()}, **changed)

    def test_variables_that_cannot_be_read_are_not_overwritten(self) -> None:
        unreadable = {"Error": {"ErrorCode": "AccessDeniedException", "Message": "kms:Decrypt"}}
        with pytest.raises(ValueError, match="environment of payments cannot be read: kms:Decrypt"):
            self.run(None, Environment=unreadable)


GROUP = "infisical-rotation:shop:payments"
PATH = "/apis/apps/v1/namespaces/shop/deployments/payments"
BEFORE = "2026-11-01T08:00:00Z"


STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # https://docs.python.org/3.13/whatsnew/3.13.html#ssl


class TestKubernetes:
    @pytest.fixture(autouse=True)
    @staticmethod
    def strict_default(monkeypatch: pytest.MonkeyPatch) -> None:
        """Make contexts as Python does since 3.13, which the function runs on."""
        original = ssl.create_default_context

        def strict(*, cadata: str) -> ssl.SSLContext:
            context = original(cadata=cadata)
            context.verify_flags |= STRICT
            return context

        monkeypatch.setattr(ssl, "create_default_context", strict)

    @pytest.fixture(scope="class")
    @staticmethod
    def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        groups = {"ours": [GROUP], "another": ["infisical-rotation:shop:orders"]}
        with cluster(RECIPES / "kubernetes" / "rbac.yaml", groups.get, tmp_path_factory.mktemp("api")) as served:
            yield served

    @pytest.fixture
    @staticmethod
    def run(served: Cluster) -> Callable[..., list[str]]:
        """Let it decide about a deployment; return the methods of its requests."""

        def run(created_at: str = BEFORE, bearer: str = "ours", **fields: Any) -> list[str]:  # noqa: ANN401 - those of `Cluster.add`
            served.add("shop", "payments", created_at, **fields)
            served.requests.clear()
            api = restart.ApiServer(served.endpoint, served.authority, bearer)
            restart.restart(api, "shop", "payments", ROTATED_AT, NOW)
            return [request.removesuffix(f" {PATH}") for request in served.requests]

        return run

    def test_pods_from_before_the_rotation_are_replaced(self, served: Cluster, run: Callable[..., list[str]]) -> None:
        annotations = {restart.RESTARTED_AT: "2026-11-20T12:00:00+01:00", "prometheus.io/scrape": "true"}
        assert run(**annotations) == ["GET", "PATCH"]

        deployment = served.deployments["shop", "payments"]
        assert deployment["metadata"]["generation"] == 2
        pods = deployment["spec"]["template"]["metadata"]
        assert pods["annotations"] == annotations | {restart.RESTARTED_AT: NOW.isoformat()}
        assert pods["labels"] == {"app": "payments"}

    def test_a_restart_after_the_rotation_counts(self, run: Callable[..., list[str]]) -> None:
        assert run(**{restart.RESTARTED_AT: "2026-11-25T13:01:00+01:00"}) == ["GET"]
        assert run(**{restart.RESTARTED_AT: "2026-11-25T13:00:59+01:00"}) == ["GET", "PATCH"]

    def test_a_deployment_that_is_newer_than_the_rotation_stays(self, run: Callable[..., list[str]]) -> None:
        assert run(created_at=SETTLED.isoformat()) == ["GET"]

    def test_a_paused_deployment_is_an_error(self, run: Callable[..., list[str]]) -> None:
        with pytest.raises(ValueError, match="rollout resume"):
            run(paused=True)

    @pytest.mark.parametrize(("token", "status"), [("another", "403"), ("foreign", "401")])
    def test_a_refusal_of_the_api_server_is_an_error(
        self, run: Callable[..., list[str]], token: str, status: str
    ) -> None:
        with pytest.raises(RuntimeError, match=f"the API server answered {status} to GET {PATH}"):
            run(bearer=token)

    def test_the_manifest_allows_nothing_else(self, served: Cluster) -> None:
        api = restart.ApiServer(served.endpoint, served.authority, "ours")
        for namespace, name in (("shop", "orders"), ("bank", "payments")):
            served.add(namespace, name, BEFORE)
            with pytest.raises(RuntimeError, match="403"):
                restart.restart(api, namespace, name, ROTATED_AT, NOW)

    def test_the_token_is_a_signed_call_for_this_cluster(self) -> None:
        """The embedded AWS checks the signature end to end. EKS also demands this host and these headers."""
        token = restart.token(boto3.Session("a", "b", "c", region_name="eu-west-1"), "shop")

        assert token.startswith("k8s-aws-v1.")
        assert "=" not in token
        url = urlsplit(base64.urlsafe_b64decode(token.removeprefix("k8s-aws-v1.") + "==").decode())
        query = dict(parse_qsl(url.query))
        assert (url.scheme, url.netloc) == ("https", "sts.eu-west-1.amazonaws.com")
        assert query["Action"] == "GetCallerIdentity"
        assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
        assert query["X-Amz-Security-Token"] == "c"

    def test_another_authority_is_not_trusted(self, served: Cluster, tmp_path: Path) -> None:
        with cluster(RECIPES / "kubernetes" / "rbac.yaml", lambda _: None, tmp_path) as other:
            api = restart.ApiServer(served.endpoint, other.authority, "ours")
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            restart.restart(api, "shop", "payments", ROTATED_AT, NOW)


@given(st.lists(st.integers(0, 7200).map(lambda seconds: ROTATED_AT + timedelta(seconds=seconds)), min_size=1))
def test_any_rotations_are_few_deployments_that_cover_all(rotations: list[datetime]) -> None:
    """Deployments are ten minutes apart, and each rotation is in one of the next eleven minutes."""
    deployments = [ROTATED_AT - timedelta(days=30)]
    for rotated_at in sorted(rotations):
        current = {"createdAt": deployments[-1]}
        if not redeploy.started_after(current, rotated_at):
            deployments.append(rotated_at + WAIT)

    gaps = [later - earlier for earlier, later in itertools.pairwise(deployments)]
    assert min(gaps) >= timedelta(minutes=10)
    for rotated_at in rotations:
        assert any(rotated_at + redeploy.SETTLE <= each <= rotated_at + WAIT for each in deployments)


def resources(recipe: str) -> dict[str, Any]:
    template = yaml_parse((RECIPES / recipe / "template.yaml").read_text("utf-8"))
    found: dict[str, Any] = template["Resources"]
    return found


def test_recipes_wait_ten_minutes_and_the_time_of_settling() -> None:
    for recipe, module in {"ecs": redeploy, "lambda": renew, "kubernetes": restart}.items():
        template = yaml_parse((RECIPES / recipe / "template.yaml").read_text("utf-8"))
        assert timedelta(seconds=template["Parameters"]["WaitSeconds"]["Default"]) == WAIT
        assert timedelta(minutes=10) + module.SETTLE == WAIT


@pytest.mark.parametrize("recipe", ["lambda", "kubernetes"])
def test_recipes_share_rule_queues_and_alarms(recipe: str) -> None:
    """Each folder stands alone, so that it can be copied. What they have in common is the same."""

    def common(name: str) -> dict[str, Any]:
        kept = {k: v for k, v in resources(name).items() if k not in ("Consumer", "ConsumerRole", "ClusterAccess")}
        for each in kept.values():
            each["Properties"].pop("Description", None)
            each["Properties"].pop("AlarmDescription", None)
        kept["RotationEnded"]["Properties"]["Targets"][0].pop("SqsParameters")
        return kept

    assert common(recipe) == common("ecs")
