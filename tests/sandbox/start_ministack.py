"""Starts the embedded AWS in its own environment: with more patience for what functions log, and not beyond its caller.

By itself it takes the log of an invocation for complete after 5 ms of silence. On a busy machine the last lines came
later: with the function's next invocation, or never.
"""

import os
import signal
import sys
import threading
import time
from functools import partialmethod

from ministack.app import main
from ministack.core.lambda_runtime import Worker

LOOK_SECONDS = 1


def end_with(caller: int) -> None:
    """End this process, and those of the functions, once nobody is there who could."""
    while os.getppid() == caller:
        time.sleep(LOOK_SECONDS)
    os.killpg(0, signal.SIGKILL)


_read_log = "_drain_stderr_bounded"  # its own, with no setting for it
_patient = partialmethod(getattr(Worker, _read_log), first_line_wait=0.5, idle_confirm=0.03, hard_cap=2.0)
setattr(Worker, _read_log, _patient)

threading.Thread(target=end_with, args=(int(sys.argv.pop()),), daemon=True).start()
main()
