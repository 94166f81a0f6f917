"""The commands: one file each, and what only commands need."""
