"""Starts the embedded AWS in its own environment, with more patience for what functions log.

By itself it takes the log of an invocation for complete after 5 ms of silence. On a busy machine the last lines came
later: with the function's next invocation, or never.
"""

from functools import partialmethod

from ministack.app import main
from ministack.core.lambda_runtime import Worker

_read_log = "_drain_stderr_bounded"  # its own, with no setting for it
_patient = partialmethod(getattr(Worker, _read_log), first_line_wait=0.5, idle_confirm=0.03, hard_cap=2.0)
setattr(Worker, _read_log, _patient)

main()
