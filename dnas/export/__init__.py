"""Networks for other runtimes and frameworks. Importing this package imports no jax and no exporter."""
