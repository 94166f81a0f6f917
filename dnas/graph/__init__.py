"""A space or an architecture as one network."""
