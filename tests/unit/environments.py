"""Environments that are right, as template.yaml gives them to the functions."""

from collections.abc import Mapping

from rotator.settings import Environment, InfisicalSettings

QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/queue.fifo"
FAILED_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/failed.fifo"
IDENTITY_ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
IDENTITY_SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:identity-AbCdEf"
COMMON = {
    "INFISICAL_URL": "https://eu.infisical.com",
    "MACHINE_IDENTITY_ID": IDENTITY_ID,
    "MINIMUM_INTERVAL_MINUTES": "60",
    "REQUESTS_QUEUE_URL": QUEUE_URL,
    "OUTCOME_EVENT_BUS_NAME": "default",
    "OUTCOME_EVENT_SOURCE": "infisical-rotation",
    "POWERTOOLS_SERVICE_NAME": "stack",
    "POWERTOOLS_LOG_LEVEL": "INFO",
}
KEY_GUARD = {"GRACE_PERIOD_HOURS": "6", "NAME_CONSUMERS": "ENABLED"}
DISPATCH = COMMON | KEY_GUARD | {"ROTATION_MAP_PARAMETER": "/infisical-rotation/map"}
ROTATE = COMMON | KEY_GUARD | {"FAILED_QUEUE_URL": FAILED_URL}


def with_url(url: str) -> dict[str, str]:
    return COMMON | {"INFISICAL_URL": url}


def infisical_settings(environment: Mapping[str, str]) -> InfisicalSettings:
    return InfisicalSettings.read(Environment(environment))
