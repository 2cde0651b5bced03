"""The packages that the handlers use."""

from rotator.lambda_init import begin

begin()
