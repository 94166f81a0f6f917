"""Pictures as users have them, in three simple classes: mixed sizes, orientations, modes and formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = ("circle", "cross", "stripes")
MODES = ("RGB", "L", "RGBA", "P", "CMYK")
ORIENTATION = 0x0112


def draw(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """`count` pictures in `folder`/CLASS, the classes by turns."""
    from PIL import Image

    rng, files = np.random.default_rng(seed), []
    for number in range(count):
        label, mode = CLASSES[number % 3], MODES[number % 5]
        image = Image.fromarray(_pixels(label, *rng.integers(40, 300, 2), rng)).convert(mode)
        if mode == "RGBA":
            image.putalpha(int(rng.integers(60, 256)))
        exif = Image.Exif()
        exif[ORIENTATION] = number % 8 + 1
        ending = "png" if mode in ("RGBA", "P") or mode != "CMYK" and number % 2 else "jpg"
        file = folder / label / f"{number:02d}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, exif=exif)
        files.append(file)
    return files


def _pixels(label: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A light shape in the middle of noise on a dark ground, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = (y - height / 2) / min(width, height), (x - width / 2) / min(width, height)
    inside = {
        "circle": x**2 + y**2 < 0.12,
        "cross": (np.minimum(abs(x), abs(y)) < 0.08) & (np.maximum(abs(x), abs(y)) < 0.4),
        "stripes": (abs(x) < 0.4) & (abs(y) < 0.4) & (np.floor((x + y + 2) * 8) % 2 == 0),
    }[label]
    colours = np.where(inside[..., None], rng.integers(150, 256, 3), rng.integers(0, 100, 3))
    return np.clip(colours + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
