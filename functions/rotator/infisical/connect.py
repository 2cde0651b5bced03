"""Infisical as the settings describe it: who logs in, through which network, trusting whom."""

import ssl
from functools import cache, partial
from typing import TYPE_CHECKING

import certifi
import httpx

from rotator.aws import parameter_reader
from rotator.infisical.auth_methods import aws_login, universal_login
from rotator.infisical.authorities import parse_authorities
from rotator.infisical.client import Infisical
from rotator.infisical.login import MachineIdentity
from rotator.infisical.transport import BoundedTransport, RenewedTransport
from rotator.settings import InfisicalSettings, SettingsError

if TYPE_CHECKING:
    from rotator.clock import Clock

CA_SOURCE = "CaCertificateParameter"  # of the template


def connect(settings: InfisicalSettings, clock: "Clock") -> Infisical:
    """Open a client; nothing is sent before its first call.

    Raises SettingsError where the certificate authorities are not certificates, or AWS Auth does not work here.
    """
    secret_arn = settings.identity_secret_arn
    login = universal_login(secret_arn) if secret_arn else aws_login(settings.identity_id)
    identity = MachineIdentity(settings.url, login, clock.time)
    authorities = (
        parameter_reader(settings.ca_certificate_parameter, CA_SOURCE)() if settings.ca_certificate_parameter else ""
    )
    connections = RenewedTransport(partial(httpx.HTTPTransport, verify=ssl_context(authorities)), clock)
    return Infisical(settings.url, identity, BoundedTransport(connections, clock), clock)


@cache
def ssl_context(authorities: str) -> ssl.SSLContext:
    """Trust the public certificate authorities, and `authorities` (PEM, may be empty) beside them.

    Raises SettingsError where these are not certificates.
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
