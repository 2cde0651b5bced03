"""How a machine identity logs in: with AWS Auth or with Universal Auth.

AWS Auth stores no secret. The function signs a call that asks AWS who the caller is. Infisical sends that call, and
AWS answers with the function's role. Universal Auth takes a client id and a client secret from Secrets Manager.
"""

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from rotator.aws import CLIENT_CONFIG, session
from rotator.infisical.errors import UnreachableError
from rotator.infisical.login import Login
from rotator.settings import SettingsError
from rotator.text import BYTE_ORDER_MARK

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

AWS_AUTH_PATH = "/api/v1/auth/aws-auth/login"
UNIVERSAL_AUTH_PATH = "/api/v1/auth/universal-auth/login"

WHO_AM_I = b"Action=GetCallerIdentity&Version=2011-06-15"

# How long a changed client secret may go unnoticed. It is read only to log in.
SECRET_CACHE_SECONDS = 60

_CHINA = "cn-"  # what the names of the regions of AWS China begin with

# Infisical generates both in ASCII. Text that is copied from a web page or a chat may have invisible characters.
_PLAIN = re.compile(r"[!-~]+")


def aws_login(identity_id: str) -> Callable[[], Login]:
    """Log in as the function's own role, with the credentials that Lambda gives it.

    Raises SettingsError where Infisical cannot ask the region's STS.
    """
    region = session().get_config_variable("region")
    if region.startswith(_CHINA):
        raise SettingsError(
            f"AWS Auth does not work in {region}: Infisical asks sts.REGION.amazonaws.com who logs in, and China has"
            " no such host. Use Universal Auth: set the template's parameter MachineIdentitySecretArn (for the hook,"
            " HookMachineIdentitySecretArn) instead of the identity's id"
        )

    def login() -> Login:
        credentials = session().get_credentials()
        if credentials is None:
            raise UnreachableError("the function has no AWS credentials to log in with")
        return aws_auth(identity_id, credentials.get_frozen_credentials(), region)

    return login


def universal_login(secret_arn: str) -> Callable[[], Login]:
    """Log in with the client id and client secret that a secret of Secrets Manager holds."""
    # Imported here for the same reason as in `aws`.
    from aws_lambda_powertools.utilities.parameters import SecretsProvider  # noqa: PLC0415
    from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError  # noqa: PLC0415

    region = secret_arn.split(":")[3]  # it may be another one than the stack's
    secrets = SecretsProvider(boto_config=CLIENT_CONFIG.merge(Config(region_name=region)))

    def login() -> Login:
        try:
            return universal_auth(str(secrets.get(secret_arn, max_age=SECRET_CACHE_SECONDS)))
        except (GetParameterError, ValueError) as error:
            raise UnreachableError(f"cannot use the machine identity's secret {secret_arn}: {error}") from None

    return login


def aws_auth(identity_id: str, credentials: "Credentials | ReadOnlyCredentials", region: str) -> Login:
    """Sign GetCallerIdentity with `credentials`, for the STS of `region`, to which Infisical sends it.

    There is no Accept header: Infisical cannot read XML, and STS answers XML to any Accept but JSON.
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
    return Login(AWS_AUTH_PATH, body, identity_id)


def universal_auth(secret: str) -> Login:
    """Read the machine identity's secret, `{"clientId": "…", "clientSecret": "…"}`.

    Drops white space around the values, because pasted line ends are a known cause of refused logins, and a byte order
    mark at the beginning. Raises ValueError that names what is missing or wrong, without any of the secret.
    """
    try:
        fields = json.loads(secret.removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ValueError('the machine identity\'s secret must be JSON: {"clientId": "…", "clientSecret": "…"}')
    client_id, client_secret = _credential(fields, "clientId"), _credential(fields, "clientSecret")
    credentials = (client_id, client_secret)
    return Login(UNIVERSAL_AUTH_PATH, {"clientId": client_id, "clientSecret": client_secret}, credentials)


def _credential(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the machine identity's secret has no {name}")
    if not _PLAIN.fullmatch(value.strip()):
        raise ValueError(
            f"the {name} in the machine identity's secret holds a character that Infisical never uses, perhaps an"
            " invisible one; type it in again"
        )
    return value.strip()
