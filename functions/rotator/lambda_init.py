"""Lambda's init phase: build the function before the first event, with the garbage collector off.

Objects of this phase live as long as the process. Searching them for garbage would take an eighth of a cold start.
"""

import gc
import os
from collections.abc import Callable


def begin() -> None:
    """Switch the garbage collector off, in Lambda only."""
    if _in_lambda():
        gc.disable()


def finish(compose: Callable[[], object]) -> None:
    """Build the function, in Lambda only, and exempt all existing objects from garbage collection."""
    if _in_lambda():
        compose()
        gc.freeze()
        gc.enable()


def _in_lambda() -> bool:
    return "AWS_LAMBDA_RUNTIME_API" in os.environ
