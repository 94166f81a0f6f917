"""A process that decodes: `python -m dnas.data.stream.worker`, requests on stdin, pixels on stdout.

A request is a line of JSON. For each of its addresses the answer is eight bytes, `HEAD`, and as many more as they say:
the pixels, or the reason why there are none. The process ends with its stdin, so it never outlives who started it,
however that ended.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import IO, Any

import numpy as np

from dnas.data.stream.decode import decoded

HEAD = struct.Struct("<II")
"""1 for pixels, 0 for a reason; the number of bytes that follow."""


def main(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers until no more is asked."""
    for line in requests:
        answer(json.loads(line), answers)
        answers.flush()


def answer(request: dict[str, Any], answers: IO[bytes]) -> None:
    """Writes the images of one request."""
    for address in request["addresses"]:
        found = decoded(request["kind"], address, request["side"], request["channels"])
        is_image = isinstance(found, np.ndarray)
        body = np.ascontiguousarray(found).data.cast("B") if is_image else found.encode(errors="backslashreplace")
        answers.write(HEAD.pack(is_image, len(body)))
        answers.write(body)


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not get among the pixels
    try:
        main(sys.stdin.buffer, own)
    except BrokenPipeError:  # nobody waits for the rest
        os._exit(0)
