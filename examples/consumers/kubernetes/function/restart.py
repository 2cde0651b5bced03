"""Restarts a Kubernetes deployment on EKS whose pods are older than a rotation, as `kubectl rollout restart` does."""

import base64
import http.client
import json
import logging
import os
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

# A pod that starts this soon after a rotation may still read the old key: a sync copies it, and clocks differ.
SETTLE = timedelta(seconds=60)

# kubectl sets it, too. So a restart by a person counts as well.
# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-k8s-io-restart-at
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"

TIMEOUT_SECONDS = 10.0
TOKEN_SECONDS = 60

log = logging.getLogger(__name__)


class ApiServer:
    """The API server of a cluster, to which this sends requests as the bearer of a token."""

    def __init__(self, endpoint: str, certificate_authority: str, token: str) -> None:
        self._address = urlsplit(endpoint)
        self._context = ssl.create_default_context(cadata=certificate_authority)
        # EKS's authorities lack extensions that Python demands from 3.13 on. Chain and host name are still verified.
        # https://github.com/kubernetes-client/python/issues/2394
        self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        self._token = token

    def request(self, method: str, path: str, patch: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return the object in its answer.

        Raises RuntimeError for any answer but 200, with what the API server says.
        """
        connection = http.client.HTTPSConnection(
            self._address.hostname or "", self._address.port, timeout=TIMEOUT_SECONDS, context=self._context
        )
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if patch is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            connection.request(method, path, json.dumps(patch) if patch is not None else None, headers)
            answer = connection.getresponse()
            body = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"the API server answered {answer.status} to {method} {path}: {body[:1000]}")
        found: dict[str, Any] = json.loads(body)
        return found


def handler(event: dict[str, Any], _context: object) -> None:
    """Handle a batch of the queue: all rotations in it are in the one restart that follows."""
    name = os.environ["CLUSTER"]
    cluster: Any = boto3.client("eks").describe_cluster(name=name)["cluster"]
    authority = base64.b64decode(cluster["certificateAuthority"]["data"]).decode()
    api = ApiServer(cluster["endpoint"], authority, token(boto3.Session(), name))
    restart(api, os.environ["NAMESPACE"], os.environ["DEPLOYMENT"], newest_rotation(event), datetime.now(UTC))


def newest_rotation(event: dict[str, Any]) -> datetime:
    """Return when the newest rotation of a batch was committed."""
    return max(datetime.fromisoformat(json.loads(record["body"])["last_rotated_at"]) for record in event["Records"])


def token(session: boto3.Session, cluster: str) -> str:
    """Return what EKS takes for a password: a presigned call that says who signed it.

    https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster
    """
    sts = session.client("sts")
    credentials = session.get_credentials()
    assert credentials, "Lambda gives a function the credentials of its role"  # noqa: S101 - for the type checker
    request = AWSRequest(
        "GET",
        f"{sts.meta.endpoint_url}/?Action=GetCallerIdentity&Version=2011-06-15",
        headers={"x-k8s-aws-id": cluster},
    )
    SigV4QueryAuth(credentials, "sts", sts.meta.region_name, expires=TOKEN_SECONDS).add_auth(request)
    return "k8s-aws-v1." + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")


def restart(api: ApiServer, namespace: str, name: str, rotated_at: datetime, now: datetime) -> None:
    """Restart the deployment, unless it was restarted after the rotation.

    Raises ValueError for a paused deployment, which starts no pods. SQS then redelivers the batch.
    """
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    deployment = api.request("GET", path)
    if restarted_after(deployment, rotated_at):
        log.info("skipped: %s was restarted after the rotation", name)
        return
    if deployment["spec"].get("paused"):
        raise ValueError(f"the deployment {name} is paused. Resume it: kubectl rollout resume deployment/{name}")
    annotations = {RESTARTED_AT: now.isoformat(timespec="seconds")}
    api.request("PATCH", path, {"spec": {"template": {"metadata": {"annotations": annotations}}}})
    log.info("restarted: %s gets new pods for the rotation of %s", name, rotated_at)


def restarted_after(deployment: dict[str, Any], rotated_at: datetime) -> bool:
    """Tell whether the deployment's pods have read the key of this rotation."""
    annotations = deployment["spec"]["template"].get("metadata", {}).get("annotations") or {}
    restarted_at = annotations.get(RESTARTED_AT)
    created_at = deployment["metadata"]["creationTimestamp"]
    newest = max(datetime.fromisoformat(moment) for moment in (restarted_at, created_at) if moment)
    return newest >= rotated_at + SETTLE
