"""Checks, before the first rotation, that every rotation of the map will work."""
