"""The network's values: forward pass, gates, parameters, masks, and their forms for CPUs."""
