"""The recipes of examples/consumers, deployed to an embedded AWS. The tests put the events that rotations put."""

import base64
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from rotator.timestamps import format_timestamp
from tests.sandbox.deployment import Deployment, deploy_template, wait_until
from tests.sandbox.embedded_aws import ACCOUNT, REGION, ROOT, EmbeddedAws, embedded_aws
from tests.sandbox.kubernetes import Cluster, cluster
from tests.sandbox.proxy import Layer, Server, proxy

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

pytestmark = pytest.mark.release

SAMPLE = ROOT / "events" / "outcomes" / "rotation-ended.json"
RECIPES = ROOT / "examples" / "consumers"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"
ROTATIONS = [str(uuid4()) for _ in range(3)]
FOREIGN_ROTATION = str(uuid4())
SETTLE = timedelta(seconds=60)  # as in the recipes
WAIT_SECONDS = 4

Deploy = Callable[..., Deployment]


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws() as aws:
        yield aws


@pytest.fixture(scope="module")
def deploy(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Deploy:
    """Deploy a recipe from a copy of its folder, with a short wait."""

    def deploy(name: str, **parameters: str) -> Deployment:
        folder = shutil.copytree(RECIPES / name, tmp_path_factory.mktemp("recipes") / name)
        given = {"RotationIds": ",".join(ROTATIONS), "AlarmTopicArn": TOPIC, "WaitSeconds": str(WAIT_SECONDS)}
        return deploy_template(aws, f"consumer-{name}", folder / "template.yaml", given | parameters)

    return deploy


def put_event(recipe: Deployment, rotation_id: str, rotated_at: datetime, outcome: str = "rotated") -> None:
    """Put the sample event, about this rotation."""
    sample: dict[str, Any] = json.loads(SAMPLE.read_text("utf-8"))
    changed = {"rotation_id": rotation_id, "outcome": outcome, "last_rotated_at": format_timestamp(rotated_at)}
    entry: Any = {
        "Source": sample["source"],
        "DetailType": sample["detail-type"],
        "Detail": json.dumps(sample["detail"] | changed),
    }
    assert recipe.events.put_events(Entries=[entry])["FailedEntryCount"] == 0


def rotate_three_times(recipe: Deployment, consumer_started_at: datetime) -> None:
    """Put events of three rotations.

    The consumer's start is too soon after them to count. What the recipe does when it has waited counts.
    """
    for rotation_id, seconds in zip(ROTATIONS, (1, 2, 3), strict=True):
        put_event(recipe, rotation_id, consumer_started_at - SETTLE + timedelta(seconds=seconds))
        put_event(recipe, FOREIGN_ROTATION, consumer_started_at)
        put_event(recipe, rotation_id, consumer_started_at, outcome="refused")


def create_role(aws: EmbeddedAws, name: str, service: str) -> str:
    """Create a role for a service and return its ARN."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn: str = aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    return arn


def wait_until_done(recipe: Deployment) -> None:
    """Wait until the queue holds no message, neither waiting nor in flight."""
    names: Any = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "Delayed", "NotVisible")]

    def is_empty() -> bool:
        url = recipe.outputs["RotationsUrl"]
        attributes = recipe.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return not any(int(count) for count in attributes.values())

    wait_until("the recipe to work off its queue", is_empty)


@pytest.fixture(scope="module")
def ecs(aws: EmbeddedAws) -> Any:  # noqa: ANN401 - boto3's client for ECS, which has no type of its own
    """A cluster with two services."""
    ecs = aws.client("ecs")
    ecs.create_cluster(clusterName="shop")
    container = {"name": "payments", "image": "payments", "memory": 128}
    ecs.register_task_definition(family="payments", containerDefinitions=[container])
    for service in ("payments", "orders"):
        ecs.create_service(cluster="shop", serviceName=service, taskDefinition="payments", desiredCount=0)
    return ecs


@pytest.fixture(scope="module")
def ecs_recipe(ecs: object, deploy: Deploy) -> Deployment:
    assert ecs
    return deploy("ecs", Cluster="shop", Service="payments")


def test_three_rotations_are_one_deployment_of_an_ecs_service(
    ecs: Any,  # noqa: ANN401 - as above
    ecs_recipe: Deployment,
) -> None:
    def describe(service: str) -> dict[str, Any]:
        (found,) = ecs.describe_services(cluster="shop", services=[service])["services"]
        return {"current": found["deployments"][0], "updates": len(found["events"])}

    started = describe("payments")
    rotate_three_times(ecs_recipe, started["current"]["createdAt"])
    wait_until("a new deployment", lambda: describe("payments") != started)
    wait_until_done(ecs_recipe)
    deployed = describe("payments")
    assert deployed["current"]["id"] != started["current"]["id"]
    assert (started["updates"], deployed["updates"]) == (0, 1)

    rotate_three_times(ecs_recipe, started["current"]["createdAt"])  # EventBridge delivers at least once
    wait_until_done(ecs_recipe)
    assert describe("payments")["updates"] == 1
    assert describe("orders")["updates"] == 0


def test_a_rotation_that_is_not_picked_up_is_kept(ecs_recipe: Deployment) -> None:
    url = ecs_recipe.outputs["RotationsUrl"]
    ecs_recipe.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})  # retry sooner
    rotated_at = datetime.now(UTC)

    with ecs_recipe.without("ConsumerRole", "DeployTheService"):
        put_event(ecs_recipe, ROTATIONS[0], rotated_at)
        wait_until("a dead letter", lambda: ecs_recipe.depth("FailedRotationsUrl"))

    (kept,) = ecs_recipe.take("FailedRotationsUrl")
    assert kept["rotation_id"] == ROTATIONS[0]
    assert kept["last_rotated_at"] == format_timestamp(rotated_at)


FUNCTION = """
import os, uuid

environment = str(uuid.uuid4())

def handler(event, context):
    return {"environment": environment, "variables": {name: os.environ.get(name) for name in ("A", "KEY_PICKED_UP_AT")}}
"""


def test_three_rotations_are_one_change_of_a_lambda_function(aws: EmbeddedAws, deploy: Deploy) -> None:
    client: LambdaClient = aws.client("lambda")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("payments.py", FUNCTION)
    client.create_function(
        FunctionName="payments",
        Runtime="python3.13",
        Handler="payments.handler",
        Role=create_role(aws, "payments", "lambda.amazonaws.com"),
        Code={"ZipFile": code.getvalue()},
        Environment={"Variables": {"A": "1"}},
    )
    recipe = deploy("lambda", FunctionName="payments")

    def state() -> tuple[str, str]:
        configuration = client.get_function_configuration(FunctionName="payments")
        return configuration["LastModified"], configuration["RevisionId"]

    def invoke() -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(client.invoke(FunctionName="payments")["Payload"].read())
        return answer

    first, started = invoke(), state()
    assert first["variables"] == {"A": "1", "KEY_PICKED_UP_AT": None}
    assert invoke() == first
    rotate_three_times(recipe, datetime.fromisoformat(started[0]))
    wait_until("a change of the function", lambda: state() != started)
    wait_until_done(recipe)

    second, changed = invoke(), state()
    assert second["environment"] != first["environment"]
    assert second["variables"]["A"] == "1"
    assert second["variables"]["KEY_PICKED_UP_AT"]

    rotate_three_times(recipe, datetime.fromisoformat(started[0]))
    wait_until_done(recipe)
    assert state() == changed


class ClusterElsewhere(Layer):
    """EKS says where the API server of a cluster is, and which authority signed its certificate."""

    def __init__(self, below: httpx.AsyncBaseTransport, api: Cluster) -> None:
        super().__init__(below)
        self._api = api

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if not response.is_success:
            return response
        authority = {"data": base64.b64encode(self._api.authority.encode()).decode()}
        found = response.json()
        found["cluster"] |= {"endpoint": self._api.endpoint, "certificateAuthority": authority}
        return httpx.Response(response.status_code, json=found)


def test_three_rotations_are_one_restart_of_a_kubernetes_deployment(
    aws: EmbeddedAws, deploy: Deploy, tmp_path: Path
) -> None:
    role = create_role(aws, "shop", "eks.amazonaws.com")
    aws.client("eks").create_cluster(name="shop", roleArn=role, resourcesVpcConfig={"subnetIds": ["subnet-1"]})
    recipe = deploy("kubernetes", Cluster="shop", Namespace="shop", Deployment="payments")

    def groups_of(token: str) -> list[str] | None:
        """Ask STS who signed the token, as EKS does, and look up the role's access entry."""
        url = base64.urlsafe_b64decode(token.removeprefix("k8s-aws-v1.") + "==").decode()
        assert url.startswith(aws.endpoint)
        answer = httpx.get(url, headers={"x-k8s-aws-id": "shop"}, trust_env=False)
        role = recipe.resources("AWS::IAM::Role")["ConsumerRole"]
        return ["infisical-rotation:shop:payments"] if f":assumed-role/{role}/" in answer.text else None

    with cluster(RECIPES / "kubernetes" / "rbac.yaml", groups_of, tmp_path) as api:
        started_at = datetime.now(UTC)
        api.add("shop", "payments", started_at.isoformat())
        with proxy(aws.endpoint, ClusterElsewhere(Server(), api)) as eks:
            name = recipe.outputs["ConsumerFunctionName"]
            variables = recipe.lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            recipe.lambda_.update_function_configuration(
                FunctionName=name, Environment={"Variables": {**variables, "AWS_ENDPOINT_URL_EKS": eks}}
            )
            rotate_three_times(recipe, started_at)
            wait_until("a restart", lambda: any("PATCH" in request for request in api.requests))
            rotate_three_times(recipe, started_at)
            wait_until_done(recipe)

    assert [request.partition(" ")[0] for request in api.requests].count("PATCH") == 1
    assert api.deployments["shop", "payments"]["metadata"]["generation"] == 2
