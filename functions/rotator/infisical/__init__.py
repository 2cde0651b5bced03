"""Everything about talking to Infisical: the client, its answers and errors, logging in, and the connection."""
