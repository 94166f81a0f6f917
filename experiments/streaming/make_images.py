"""Makes a folder of JPEG files on the spot, for measurements of streaming; the same files from the same arguments.

    python experiments/streaming/make_images.py FOLDER                      # 100,000 files, about 1.5 GB
    python experiments/streaming/make_images.py FOLDER --count 2000 --pictures 200

Pictures are smooth random fields with grain, about as large as JPEG files of photographs of their side. Of each picture
there are as many files as it takes, each with a comment of its own, so that no two files are the same while decoding
costs what it costs. `train/<class>/*` holds all but a hundredth, which is `val/<class>/*`.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 100
SIDES = 256, 320
"""Height and width in pixels."""


def picture(number: int) -> bytes:
    """A JPEG file."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(SIDES[::-1], Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-12, 13, (*SIDES, 1), dtype=np.int16)
    out = io.BytesIO()
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=80)
    return out.getvalue()


def commented(data: bytes, comment: str) -> bytes:
    """The file with a comment (a COM segment) behind its first two bytes."""
    text = comment.encode()
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


def main(folder: Path, count: int, pictures: int) -> None:
    """Writes the files."""
    known = [picture(number) for number in range(min(pictures, count))]
    for number in range(count):
        split = "val" if number % 100 == 99 else "train"
        label = (number + number // 100) % CLASSES
        place = folder / split / f"class{label:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:06}.jpg").write_bytes(commented(known[number % len(known)], f"image {number}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--pictures", type=int, default=5_000)
    args = parser.parse_args()
    main(args.folder, args.count, args.pictures)
