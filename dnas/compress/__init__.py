"""From a trained network to a smaller one: pruning, patch slimming, quantisation."""
