"""What one might write with httpx and Powertools: the calls that `rotate` makes, and nothing of its care."""

import base64
import json
import os
from typing import Any

import boto3
import httpx
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

WHO_AM_I = b"Action=GetCallerIdentity&Version=2011-06-15"

logger = Logger()
metrics = Metrics(namespace="Rotations")
session = boto3.Session()
iam = session.client("iam")
http = httpx.Client(base_url=os.environ["INFISICAL_URL"], timeout=35)


@metrics.log_metrics
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    token = log_in()
    for record in event["Records"]:
        rotate(json.loads(record["body"])["rotationId"], token)
    return {"batchItemFailures": []}


def log_in() -> str:
    region = os.environ["AWS_REGION"]
    url = f"https://sts.{region}.amazonaws.com/"
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    request = AWSRequest("POST", url, data=WHO_AM_I, headers=headers)
    credentials = session.get_credentials()
    assert credentials
    SigV4Auth(credentials, "sts", region).add_auth(request)
    body = {
        "identityId": os.environ["MACHINE_IDENTITY_ID"],
        "iamHttpRequestMethod": "POST",
        "iamRequestBody": base64.b64encode(WHO_AM_I).decode(),
        "iamRequestHeaders": base64.b64encode(json.dumps(dict(request.headers)).encode()).decode(),
    }
    answer = http.post("/api/v1/auth/aws-auth/login", json=body)
    return str(answer.raise_for_status().json()["accessToken"])


def rotate(rotation_id: str, token: str) -> None:
    path = f"/api/v2/secret-rotations/aws-iam-user-secret/{rotation_id}"
    headers = {"Authorization": f"Bearer {token}"}
    rotation = http.get(path, headers=headers).raise_for_status().json()["secretRotation"]
    keys = iam.list_access_keys(UserName=rotation["parameters"]["userName"])["AccessKeyMetadata"]
    oldest = min(keys, key=lambda key: key["CreateDate"])
    iam.get_access_key_last_used(AccessKeyId=oldest["AccessKeyId"])
    http.post(f"{path}/rotate-secrets", headers=headers).raise_for_status()
    logger.info("rotated", rotation_id=rotation_id)
    metrics.add_metric("RotationSucceeded", MetricUnit.Count, 1)
