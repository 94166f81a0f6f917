"""Differentiable neural architecture search in JAX: search spaces as data, searches under exact budgets."""

__version__ = "0.1.0"
