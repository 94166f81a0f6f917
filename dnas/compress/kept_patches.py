"""The patches that are left, drawn over images: what was dropped after a block is dimmed."""

from __future__ import annotations

import struct
import zlib

import numpy as np

PICTURE = "patches.png"
SIDE, GAP = 96, 4
"""Pixels of an image in the picture, at least, and between two."""
DIM, PAPER = 0.2, 255
"""How much of what was dropped is seen; the ground."""


def picture(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """uint8 [height, width, 3]: a row an image, a column a block after the image itself.

    `images` are uint8 [N, H, W, channels], `masks` [blocks, patches] of a square of patches, row after row. Images of
    other than three channels are shown by their first.
    """
    images = images if images.shape[3] == 3 else images[..., :1]
    grid = round(masks.shape[1] ** 0.5)
    side = grid * -(-max(SIDE, images.shape[1]) // grid)
    source = np.arange(side) * images.shape[1] // side
    wide = np.repeat(images, 3 // images.shape[3], axis=3)[:, source][:, :, source].astype(np.float32)
    shown = [np.ones((side, side, 1), np.float32)]
    for mask in masks:
        seen = np.where(mask.reshape(grid, grid) > 0, 1.0, DIM)
        shown.append(seen.repeat(side // grid, 0).repeat(side // grid, 1)[:, :, None].astype(np.float32))
    step = side + GAP
    found = np.full((len(wide) * step - GAP, len(shown) * step - GAP, 3), PAPER, np.uint8)
    for row, image in enumerate(wide):
        for column, seen in enumerate(shown):
            drawn = PAPER + (image - PAPER) * seen
            found[row * step : row * step + side, column * step : column * step + side] = np.round(drawn)
    return found


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 [height, width, 3] (ISO/IEC 15948), without a clock in it."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
