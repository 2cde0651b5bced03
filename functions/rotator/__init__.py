"""What the Lambda functions stand on. Imports run downwards only; docs/architecture.md has the map."""
