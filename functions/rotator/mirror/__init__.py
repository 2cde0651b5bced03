"""A secret in Secrets Manager that mirrors a rotation's key: its value, its versions, and its new key."""
