"""The key that a rotation has replaced: who still uses it, and when it is deactivated."""
