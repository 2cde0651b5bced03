"""Says what a leaked access key is, and takes it away as gently as that allows."""
