"""`make preflight STACK=…`: checks, before the first rotation, that every rotation of the map will work."""
