"""Outcome events: what each function puts on EventBridge when its work ends. docs/events.md is the contract."""
