"""`python -m tests.cloudwatch`: renew what docs/runbook.md says a person hears."""

from tests.cloudwatch.runbook import PAGE, renewed
from tests.cloudwatch.template import alarms
from tests.sandbox.embedded_aws import forget_own_accounts

forget_own_accounts()
PAGE.write_text(renewed(alarms()), "utf-8")
