"""What there is to say of a run, whoever shows it: is it good, what mattered, and which commands come next."""
