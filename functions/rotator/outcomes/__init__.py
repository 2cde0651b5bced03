"""Outcome events: what each function tells EventBridge about how its work ended. docs/events.md is the contract."""
