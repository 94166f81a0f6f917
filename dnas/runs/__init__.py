"""Result folders: whose they are, what they say, and how later commands come back to their data."""
