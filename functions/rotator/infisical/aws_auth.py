"""AWS Auth: a machine identity that is the function's own role. Nothing is stored anywhere.

The function signs a call that asks AWS who it is, and Infisical makes that call: what AWS answers is who logs in.
"""

import base64
import json
from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from rotator.infisical.login import Login

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

PATH = "/api/v1/auth/aws-auth/login"
WHO_AM_I = b"Action=GetCallerIdentity&Version=2011-06-15"


def aws_auth(identity_id: str, credentials: "Credentials | ReadOnlyCredentials", region: str) -> Login:
    """Sign the question with `credentials`, for the STS of `region`, which is where Infisical asks it.

    The signed headers hold no Accept: with any but JSON's, STS answers XML, which Infisical cannot read.
    """
    host = f"sts.{region}.amazonaws.com"
    request = AWSRequest(
        "POST",
        f"https://{host}/",
        data=WHO_AM_I,
        headers={
            "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
            "Content-Length": str(len(WHO_AM_I)),
            "Host": host,
        },
    )
    SigV4Auth(credentials, "sts", region).add_auth(request)
    body = {
        "identityId": identity_id,
        "iamHttpRequestMethod": "POST",
        "iamRequestBody": base64.b64encode(WHO_AM_I).decode(),
        "iamRequestHeaders": base64.b64encode(json.dumps(dict(request.headers)).encode()).decode(),
    }
    return Login(PATH, body, identity_id)
