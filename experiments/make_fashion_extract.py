"""Remake the embedded data set, bit for bit, from Fashion-MNIST's four IDX files (plain or .gz).

    python experiments/make_fashion_extract.py /usr/share/datasets/fashion-mnist dnas/data/fashion_mnist_5k.npz

400 training and 100 test images of each class, drawn with a fixed seed, kept in the order of the source. The archive is
written uncompressed with fixed dates, so that its bytes do not depend on the machine, the day or the version of zlib
(wheel and repository compress it anyway). Takes about a second and ends by printing `6f05036a35 3926596 bytes`: the
first digits of the file's sha256, and its length.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from dnas.data.idx import idx_files, read_idx
from dnas.data.shuffle import EXTRACT, permutation

SEED = 20170828
PER_CLASS = {"train": 400, "test": 100}
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def draw(labels: np.ndarray, per_class: int, stream: int) -> np.ndarray:
    """Sorted positions of `per_class` images of each of the ten classes."""
    chosen = []
    for label in range(len(CLASS_NAMES)):
        members = np.flatnonzero(labels == label)
        chosen.append(members[permutation(len(members), SEED, EXTRACT, 100 * stream + label)[:per_class]])
    return np.sort(np.concatenate(chosen))


def extract(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the archive: x_train [4000, 28, 28], y_train [4000], x_test, y_test (all uint8), class_names."""
    arrays, files = {}, idx_files(folder)[0]
    for stream, (split, per_class) in enumerate(PER_CLASS.items()):
        paths = [files.get((split, kind)) for kind in ("images", "labels")]
        if None in paths:
            raise SystemExit(f"{folder}: the {split} files are missing")
        images, labels = (read_idx(path, dims) for path, dims in zip(paths, (3, 1), strict=True) if path)
        chosen = draw(labels, per_class, stream)
        arrays |= {f"x_{split}": images[chosen], f"y_{split}": labels[chosen]}
    return arrays | {"class_names": np.array(CLASS_NAMES, dtype="<U11")}


def write(arrays: dict[str, np.ndarray], output: Path) -> bytes:
    """Write the archive; the same arrays always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, member.getvalue())
    output.write_bytes(buffer.getvalue())
    return buffer.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with the four IDX files")
    parser.add_argument("output", type=Path, help="the .npz file to write")
    args = parser.parse_args()
    data = write(extract(args.folder), args.output)
    print(hashlib.sha256(data).hexdigest()[:10], len(data), "bytes")
