"""Images in, batches out: loading, splits, batches, preprocessing, and tasks planted on purpose.

`load` reads a data set, `splits` parts it, `batches` walks through it by step number, `preprocess` and `augment` turn
uint8 images into the network's float32 input (the only two files here that import jax), `synthetic` makes tasks whose
best architecture is known. Everything is a pure function of its arguments and a seed.
"""
