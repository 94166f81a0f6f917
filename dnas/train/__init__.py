"""Training of one architecture: recipes, steps, schedules, results."""
