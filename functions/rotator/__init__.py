"""What the handlers stand on."""

from rotator.lambda_init import begin

begin()
