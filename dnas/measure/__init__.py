"""Latency tables measured on this machine. Importing this package imports no jax and no runtime."""
