"""Images that stay on disk and are decoded as they are needed.

`places` says where images lie, `decode` turns them into pixels, `images` takes the place of an array and reads by
threads, `feed` has processes of grain read whole sequences of batches.
"""
