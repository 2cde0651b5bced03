"""One request, at most one rotation: the decision, the attempt, and its batch."""
