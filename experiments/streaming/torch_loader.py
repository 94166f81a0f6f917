"""PyTorch's DataLoader on an image folder, for `measure.py`: reads files named on stdin, prints images a second."""

from __future__ import annotations

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


if __name__ == "__main__":
    side, batch, workers = map(int, sys.argv[1:4])
    for line in sys.stdin:
        files = line.rstrip("\n").split("\t")
        loader = DataLoader(Files(files, side), batch_size=batch, num_workers=workers)
        batches, began, first = 0, 0.0, True
        for _ in loader:
            batches += 1
            if first:  # the workers have started
                began, first = time.monotonic(), False
        print((batches - 1) * batch / (time.monotonic() - began), flush=True)
