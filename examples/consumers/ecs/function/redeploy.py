"""Starts a new deployment of an ECS service whose tasks are older than a rotation."""

import json
import logging
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import boto3

# A task that starts this soon after a rotation may still read the old key: a sync copies it, and clocks differ.
SETTLE = timedelta(seconds=60)

# The API of ECS is eventually consistent. The queue holds the next messages back until this function returns.
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
CONSISTENT_SECONDS = 5.0

log = logging.getLogger(__name__)


def handler(event: dict[str, Any], _context: object) -> None:
    """Handle a batch of the queue: all rotations in it are in the one deployment that follows."""
    redeploy(boto3.client("ecs"), os.environ["CLUSTER"], os.environ["SERVICE"], newest_rotation(event), time.sleep)


def newest_rotation(event: dict[str, Any]) -> datetime:
    """Return when the newest rotation of a batch was committed."""
    return max(datetime.fromisoformat(json.loads(record["body"])["last_rotated_at"]) for record in event["Records"])


def redeploy(
    ecs: Any,  # noqa: ANN401 - boto3's client for ECS, which has no type of its own
    cluster: str,
    service: str,
    rotated_at: datetime,
    sleep: Callable[[float], None],
) -> None:
    """Start a new deployment, unless the current one started after the rotation.

    Raises ValueError for a service that this recipe cannot deploy. SQS then redelivers the batch.
    """
    answer = ecs.describe_services(cluster=cluster, services=[service])
    if not answer["services"]:
        raise ValueError(f"ECS has no service {service} in the cluster {cluster}: {answer['failures']}")
    deployment = current_deployment(answer["services"][0])
    if started_after(deployment, rotated_at):
        log.info("skipped: %s runs %s of %s, after the rotation", service, deployment["id"], deployment["createdAt"])
        return
    ecs.update_service(cluster=cluster, service=service, forceNewDeployment=True)
    log.info("deployed: %s gets new tasks for the rotation of %s", service, rotated_at)
    sleep(CONSISTENT_SECONDS)


def current_deployment(service: dict[str, Any]) -> dict[str, Any]:
    """Return the deployment that the service's new tasks belong to.

    Raises ValueError for a service that ECS does not deploy itself or that is deleted.
    """
    controller = service.get("deploymentController", {}).get("type", "ECS")
    if service["status"] != "ACTIVE" or controller != "ECS":
        raise ValueError(
            f"{service['serviceName']} is {service['status']} and deployed by {controller}: it must be ACTIVE and "
            "deployed by ECS. Deploy it by hand, and delete this recipe's stack if the service has moved."
        )
    primary: dict[str, Any] = next(each for each in service["deployments"] if each["status"] == "PRIMARY")
    return primary


def started_after(deployment: dict[str, Any], rotated_at: datetime) -> bool:
    """Tell whether the deployment's tasks have read the key of this rotation. Those of a failed one have not."""
    created_at: datetime = deployment["createdAt"]
    return deployment.get("rolloutState") != "FAILED" and created_at >= rotated_at + SETTLE
