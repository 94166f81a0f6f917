"""One command run with several seeds: the runs side by side, and a table with mean and spread."""
