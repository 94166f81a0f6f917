"""What an exported source file says of pictures: the class names and the preprocessing as a function, before the
network, and at its end a script that names the class of picture files.

The function does to a Pillow image what `dnas.data.picture.read_picture` and `dnas.data.preprocess.prepare` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import indent

from dnas.data.preprocess import COLOURS, Preprocessing
from dnas.export.python_code import literal

PREPROCESS = '''
def preprocess(image):
    """float32 [1, {shape}] of a PIL.Image.Image."""
    import numpy as np  # here, so that the network is there without Pillow
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    image = image.convert("{mode}")
    short, long = sorted(image.size)
    other = int({side} * long / short)
    size = ({side}, other) if image.width == short else (other, {side})
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - {side}) // 2, (image.height - {side}) // 2
    square = image.crop((left, top, left + {side}, top + {side}))
    x = np.asarray(square, np.float32).reshape({side}, {side}, {channels})
{subgrid}    x = x * {scale!r} - np.array({mean}, np.float32)
    x = x / np.array({std}, np.float32)
    return x{turn}[None]
'''
SUBGRID = """    at = np.arange({grid}) * {side} // {grid}  # the pixels of the resolution that the search chose
    x = x[at][:, at]
"""
SCRIPT = """

if __name__ == "__main__":
    import sys
    from pathlib import Path

    from PIL import Image

    weights = Path(__file__).with_name({weights_file})
{load}
    for file in sys.argv[1:]:
        logits = {logits}
        print(file, {answer})
"""


@dataclass(frozen=True)
class Head:
    """What stands before the network in a file."""

    text: str = ""
    pictures: bool = False
    """There is `preprocess`."""
    named: bool = False
    """There are `CLASSES`."""

    def script(self, weights_file: str, load: Sequence[str], logits: str) -> str:
        """The end of the file, where pictures can be read.

        `load` are statements that read the file `weights`; `logits` is an expression of what `PICTURE` gives.
        """
        if not self.pictures:
            return ""
        number = "int(logits.argmax())"
        return SCRIPT.format(
            weights_file=literal(weights_file), load=indent("\n".join(load), "    "),
            logits=logits.replace("PICTURE", "preprocess(Image.open(file))"),
            answer=f"CLASSES[{number}]" if self.named else number,
        )  # fmt: skip


PLAIN = Head()
"""Of a file that knows nothing of pictures."""


def head(preprocessing: Preprocessing | None, labels: Sequence[str], layout: str) -> Head:
    """The head of a file; of a network whose preprocessing is not known, or is not of pictures, without the function.

    `layout` is NCHW or NHWC.
    """
    p = preprocessing
    text = f"\nCLASSES = [\n{_names(labels)}\n]\n" if labels else ""
    if p is None or p.channels not in COLOURS:
        return Head(text, named=bool(labels))
    side = p.grid or p.side
    sizes = (p.channels, side, side) if layout == "NCHW" else (side, side, p.channels)
    function = PREPROCESS.format(
        shape=", ".join(map(str, sizes)), mode=COLOURS[p.channels], side=p.side, channels=p.channels,
        subgrid="" if p.grid is None else SUBGRID.format(grid=p.grid, side=p.side), mean=list(p.mean),
        std=list(p.std), scale=p.scale, turn=".transpose(2, 0, 1)" if layout == "NCHW" else "",
    )  # fmt: skip
    return Head(text + ("\n" if text else "") + function, True, bool(labels))


def _names(labels: Sequence[str]) -> str:
    """Names as Python text, whatever they hold, in full lines."""
    rows: list[str] = [""]
    for text in map(ascii, labels):
        if rows[-1] and len(rows[-1]) + len(text) > 110:
            rows.append("")
        rows[-1] += f"{' ' if rows[-1] else ''}{text},"
    return indent("\n".join(rows), "    ")
