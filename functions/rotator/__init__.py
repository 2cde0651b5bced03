"""What the handlers stand on."""

import gc
import os

# What is imported and made in the init phase lives as long as the process: looking for garbage in it again and again
# takes an eighth of a cold start. `aws.settled` ends this.
if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    gc.disable()
