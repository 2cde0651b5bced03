"""Infisical as the settings describe it: who logs in, through which network, trusting whom."""

import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import certifi
import httpx
from botocore.config import Config

from rotator.aws import CLIENT_CONFIG, parameter_reader, session
from rotator.infisical.authorities import parse_authorities
from rotator.infisical.aws_auth import aws_auth
from rotator.infisical.client import Infisical
from rotator.infisical.errors import UnreachableError
from rotator.infisical.login import Login, MachineIdentity
from rotator.infisical.transport import BoundedTransport, RenewedTransport
from rotator.infisical.universal_auth import universal_auth
from rotator.settings import InfisicalSettings, SettingsError

if TYPE_CHECKING:
    from rotator.clock import Clock

# A changed client secret is picked up after this long at the latest; it is only read to log in.
SECRET_CACHE_SECONDS = 60

CA_SOURCE = "CaCertificateParameter"  # of the template

_CHINA = "cn-"  # what the names of the regions of AWS China begin with


def connect(settings: InfisicalSettings, clock: "Clock") -> Infisical:
    """Open a client; nothing is sent before its first call.

    Raises SettingsError where the certificate authorities are none.
    """
    identity = MachineIdentity(settings.url, _login(settings), clock.time)
    authorities = (
        parameter_reader(settings.ca_certificate_parameter, CA_SOURCE)() if settings.ca_certificate_parameter else ""
    )
    connections = RenewedTransport(partial(httpx.HTTPTransport, verify=trust(authorities)), clock)
    return Infisical(settings.url, identity, BoundedTransport(connections, clock), clock)


def trust(authorities: str) -> ssl.SSLContext:
    """Trust the public certificate authorities, and `authorities` (PEM, may be empty) beside them.

    Raises SettingsError where these are no certificates.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    if authorities:
        # Since Python 3.13 the default is strict, and refuses authorities without a key usage extension, which plain
        # `openssl req -x509` makes and curl accepts: https://docs.python.org/3.13/whatsnew/3.13.html#ssl
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(cadata=parse_authorities(authorities))
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(
                f"the SSM parameter that the template's parameter {CA_SOURCE} names must hold certificates in PEM form:"
                f" {error}"
            ) from None
    return context


def _login(settings: InfisicalSettings) -> Callable[[], Login]:
    if settings.identity_secret_arn:
        return _universal_login(settings.identity_secret_arn)
    return _aws_login(settings.identity_id)


def _aws_login(identity_id: str) -> Callable[[], Login]:
    """Log in as the function's own role, with the credentials that Lambda gives it."""
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
            raise UnreachableError("there are no AWS credentials to log in with")
        return aws_auth(identity_id, credentials.get_frozen_credentials(), region)

    return login


def _universal_login(secret_id: str) -> Callable[[], Login]:
    # Not before it is needed, as in `aws`.
    from aws_lambda_powertools.utilities.parameters import SecretsProvider  # noqa: PLC0415
    from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError  # noqa: PLC0415

    region = secret_id.split(":")[3]  # of its ARN: it may be another one than the stack's
    secrets = SecretsProvider(boto_config=CLIENT_CONFIG.merge(Config(region_name=region)))

    def login() -> Login:
        try:
            return universal_auth(str(secrets.get(secret_id, max_age=SECRET_CACHE_SECONDS)))
        except (GetParameterError, ValueError) as error:
            raise UnreachableError(f"cannot use the machine identity's secret {secret_id}: {error}") from None

    return login
