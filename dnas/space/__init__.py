"""A search space as data: choices, quantities over them, formulas, blocks."""
