"""What the Lambda functions stand on. Imports run downwards only."""
