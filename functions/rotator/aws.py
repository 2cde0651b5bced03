"""How this application talks to AWS itself."""

from botocore.config import Config

# The calls are small and near; a connection that hangs must not eat the function's time.
CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})
