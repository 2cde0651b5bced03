"""What many would write: boto3 and requests, clients in the handler; the calls that `rotate` makes."""

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

WHO_AM_I = b"Action=GetCallerIdentity&Version=2011-06-15"


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    session, http = boto3.Session(), requests.Session()
    iam = session.client("iam")
    http.headers["Authorization"] = f"Bearer {log_in(session, http)}"
    for record in event["Records"]:
        rotate(json.loads(record["body"])["rotationId"], iam, http)
    return {"batchItemFailures": []}


def log_in(session: boto3.Session, http: requests.Session) -> str:
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
    answer = http.post(f"{os.environ['INFISICAL_URL']}/api/v1/auth/aws-auth/login", json=body, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["accessToken"])


def rotate(rotation_id: str, iam: "IAMClient", http: requests.Session) -> None:
    url = f"{os.environ['INFISICAL_URL']}/api/v2/secret-rotations/aws-iam-user-secret/{rotation_id}"
    answer = http.get(url, timeout=10)
    answer.raise_for_status()
    keys = iam.list_access_keys(UserName=answer.json()["secretRotation"]["parameters"]["userName"])["AccessKeyMetadata"]
    oldest = min(keys, key=lambda key: key["CreateDate"])
    iam.get_access_key_last_used(AccessKeyId=oldest["AccessKeyId"])
    http.post(f"{url}/rotate-secrets", timeout=35).raise_for_status()
    print(f"rotated {rotation_id}")
