"""Infisical's API: the client, its answers and errors, the login, and the connection."""
