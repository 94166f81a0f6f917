"""Images that stay on disk and are decoded as they are needed, in processes of their own.

`places` says where images lie, `decode` turns one into pixels, `worker` is the process that does so, `readers` are
several of them, `images` is what takes the place of an array. Nothing here imports jax, so that a reader is small.
"""
