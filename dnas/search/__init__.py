"""Searching: problems, strategies, steps, the race at the end, results."""
