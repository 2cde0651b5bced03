"""`make leaked KEY=AKIA… STACK=…`: says what a leaked access key is, and takes it away as gently as that allows."""
