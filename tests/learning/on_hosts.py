"""What each of several processes reads of the batches that all of them learn from, as JSON on standard output.

Run by tests in processes of their own, which meet at an address.

python on_hosts.py HOST:PORT PROCESSES NUMBER
"""

from __future__ import annotations

import json
import sys

from dnas.process.backend import configure
from dnas.process.hosts import Hosts

meet, processes, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
configure(hosts=Hosts(meet, processes, number))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from dnas.data.batches import Batches  # noqa: E402
from dnas.learning.evaluator import filled  # noqa: E402
from dnas.process import devices  # noqa: E402

COUNT = 40


class Counted(np.ndarray):
    """Images that know which of them were asked for."""

    asked: list[int]

    def __getitem__(self, at):
        self.asked += np.asarray(at).tolist()
        return np.asarray(self)[at]


images = np.arange(COUNT * 12, dtype=np.uint8).reshape(COUNT, 2, 2, 3).view(Counted)
images.asked = []
labels = np.arange(COUNT, dtype=np.int32)
on = devices.chosen()
everything = on.program(lambda *arrays: arrays)


def told(batch) -> dict:
    """The whole batch, which every process gets, and what this one read for it."""
    whole_images, whole_labels = (np.asarray(array) for array in everything(*batch))
    asked = sorted(images.asked)
    images.asked.clear()
    return {"images": whole_images[:, 0, 0, 0].tolist(), "labels": whole_labels.tolist(), "asked": asked}


found = {}
for size in (16, 12, 7):
    batches = Batches(images, labels, np.arange(COUNT), size, 0, on.own_rows(size))
    found[f"batch {size}"] = told(on.batch_of_rows(batches.at(3), size))
found["filled"] = told(filled(images, labels, np.arange(30, 35), 8, on))
print(json.dumps({"devices": jax.device_count(), **found}))
