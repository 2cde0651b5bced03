"""Checks a rotation map without AWS, shows what a changed one changes, and puts it."""
