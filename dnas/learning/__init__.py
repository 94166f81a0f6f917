"""What searching and training share: checkpoints, weights, evaluation, sizes of images."""
