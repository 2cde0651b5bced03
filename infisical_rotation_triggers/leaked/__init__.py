"""Says what a leaked access key is, and deactivates it with as little harm to consumers as possible."""
