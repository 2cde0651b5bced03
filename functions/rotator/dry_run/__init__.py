"""Reports that only read: what would be decided for rotations and mirrors, and whether a function may log in."""
