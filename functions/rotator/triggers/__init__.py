"""Which rotations does this event mean? Events, the rotation map, and what its selectors match."""
