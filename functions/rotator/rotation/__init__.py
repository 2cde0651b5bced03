"""One request, at most one rotation: the decision, the attempt, and the batch that it came in."""
