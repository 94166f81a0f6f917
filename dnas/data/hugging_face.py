"""`preprocessor_config.json`: how pictures reach a network, for the image processors of Hugging Face's `transformers`.

    from transformers import AutoImageProcessor
    processor = AutoImageProcessor.from_pretrained(FOLDER, backend="pil")     # or the file itself
    pixels = processor(image, return_tensors="np")["pixel_values"]           # float32 [N, C, S, S]

Its steps on a picture are those of `dnas.data.picture`, less two that it does not know: turning a picture as EXIF says
(`PIL.ImageOps.exif_transpose`), and laying what is transparent over white. A network of one channel is given pictures
of mode L. The subgrid of a searched resolution is not among them either: it is an exported graph's own first step.

Under `dnas`, which `transformers` leaves alone, stand the whole record and the class names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dnas.data.preprocess import COLOURS, Preprocessing

PROCESSOR = "preprocessor_config.json"
"""The name that `from_pretrained` looks for in a folder."""
BILINEAR = 2
"""Pillow's number of the filter."""


def processor_config(name: str, preprocessing: Preprocessing, labels: Sequence[str]) -> dict[str, Any]:
    """The contents of `PROCESSOR`; of a network whose channels no picture has, the part for `dnas` alone."""
    p = preprocessing
    own = {"dnas": {"name": name, "preprocessing": p.to_json(), "labels": list(labels)}}
    if p.channels not in COLOURS:
        return own
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": p.channels == 3,
        "do_resize": True,
        "size": {"shortest_edge": p.side},
        "resample": BILINEAR,
        "do_center_crop": True,
        "crop_size": {"height": p.side, "width": p.side},
        "do_rescale": True,
        "rescale_factor": p.scale,
        "do_normalize": True,
        "image_mean": list(p.mean),
        "image_std": list(p.std),
        **own,
    }


def processor_beside(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same for an architecture's document, which it stands beside in a result folder."""
    preprocessing = Preprocessing.from_json(document["preprocessing"])
    return processor_config(document["name"], preprocessing, document["labels"])
