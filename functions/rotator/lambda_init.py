"""Lambda's init phase: what can be ready before the first event is made ready, and the garbage collector waits.

What is imported and made there lives as long as the process. Looking for garbage in it again and again takes an eighth
of a cold start.
"""

import gc
import os
from collections.abc import Callable


def begin() -> None:
    """Switch the garbage collector off, in Lambda only."""
    if _in_lambda():
        gc.disable()


def finish(compose: Callable[[], object]) -> None:
    """Put the function together, in Lambda only; what there is then stays, and only what comes is looked at."""
    if _in_lambda():
        compose()
        gc.freeze()
        gc.enable()


def _in_lambda() -> bool:
    return "AWS_LAMBDA_RUNTIME_API" in os.environ
