"""The process itself: settings of JAX and XLA, memory, devices, interruption, what is shown on the way."""
