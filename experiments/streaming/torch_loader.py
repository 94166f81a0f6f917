"""PyTorch's DataLoader on an image folder, for `measure.py`: reads files named on stdin; prints images a second and
milliseconds of processor time an image, of the program and its workers from their start to their end."""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


class Files(Dataset):
    """Images as torchvision's Resize and CenterCrop make them of Pillow's."""

    def __init__(self, files: list[str], side: int):
        self.files, self.side = files, side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int):
        with Image.open(self.files[number]) as image:
            whole = image.convert("RGB")
        short, side = min(whole.size), self.side
        width, height = (int(side * n / short) for n in whole.size)
        resized = whole.resize((width, height), Image.Resampling.BILINEAR)
        top, left = (height - side) // 2, (width - side) // 2
        return torch.from_numpy(np.array(resized.crop((left, top, left + side, top + side)))), number


def processor_s() -> float:
    """Of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    side, batch, workers, warm = map(int, sys.argv[1:5])
    for line in sys.stdin:
        files = line.rstrip("\n").split("\t")
        used, loader = processor_s(), DataLoader(Files(files, side), batch_size=batch, num_workers=workers)
        began = 0.0
        for number, _ in enumerate(loader):
            if number == warm - 1:
                began = time.monotonic()
        pace = (len(loader) - warm) * batch / (time.monotonic() - began)
        del loader
        print(pace, 1000 * (processor_s() - used) / len(files), flush=True)
