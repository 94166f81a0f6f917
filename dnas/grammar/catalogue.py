"""Names of the files that ship with dnas: spaces, published architectures, latency tables.

Wherever a command takes a SPACE, an ARCH or a TABLE it takes a name found here or a path to the user's own file.
"""

from __future__ import annotations

import os.path
from pathlib import Path

from dnas.errors import InputError, suggestion
from dnas.files.sets import current
from dnas.grammar.read import at_input, read_space
from dnas.space.space import Space

_PACKAGE = Path(__file__).resolve().parents[1]
SUFFIXES = (".yaml", ".yml", ".json")
ARCHITECTURE = "architecture.json"
"""In a result folder."""


def folder(name: str) -> Path:
    """The shipped folder `search_spaces` or `lut`: inside an installed package, else beside it in the repository."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def space_names() -> list[str]:
    """Names of the shipped search spaces."""
    return _names(folder("search_spaces"))


def published_names() -> list[str]:
    """Names of the shipped published architectures."""
    return _names(folder("search_spaces") / "published")


def table_names() -> list[str]:
    """Names of the shipped latency tables."""
    return _names(folder("lut"))


def recipe_names() -> list[str]:
    """Names of the shipped training recipes."""
    return _names(folder("search_spaces") / "recipes")


def find_space(name: str | Path) -> Path:
    """The file of a space or architecture, by name, path or result folder.

    Raises:
        InputError: no such file, a folder without an architecture, an unknown name (with the nearest that is known).
    """
    home, inside = folder("search_spaces"), Path(name) / ARCHITECTURE
    if str(name) and os.path.isdir(name) and str(name) not in (*published_names(), *space_names()):
        if not os.path.isfile(current(inside)):
            raise InputError(str(name), f"no {ARCHITECTURE} in this folder", accepted="a result folder, file or name")
        return inside
    return _find(str(name), [home, home / "published"], "space or architecture", "python -m dnas.spaces")


def find_table(name: str | Path) -> Path:
    """The file of a latency table, by name or path."""
    return _find(str(name), [folder("lut")], "latency table", "python -m dnas.lut show")


def find_recipe(name: str | Path) -> Path:
    """The file of a training recipe, by name or path."""
    return _find(str(name), [folder("search_spaces") / "recipes"], "recipe", "python -m dnas.train --help")


def load_space(name: str | Path, classes: int | None = None) -> Space:
    """Reads a space or an architecture by name or path, with its number of classes replaced where given."""
    space = read_space(find_space(name))
    return space if classes is None else at_input(space, classes=classes)


def _find(name: str, folders: list[Path], what: str, listing: str) -> Path:
    shipped = {path.stem: path for where in reversed(folders) for path in _files(where)}
    key = name.lower().replace("-", "_")
    if key in shipped:
        return shipped[key]
    # Anything that looks like a path is one, so that a missing file is reported as missing, not as an unknown name.
    # `os.path` says no, where `Path` raises, of a name too long for the system.
    if "/" in name or "\\" in name or name.lower().endswith(SUFFIXES) or os.path.isfile(name):
        path = Path(name)
        if not os.path.isfile(current(path)):
            problem = "not a file" if os.path.exists(path) else "no such file"
            raise InputError(name, problem, accepted=f"a path to a file, or a name listed by {listing}")
        return path
    raise InputError(
        name, f"unknown {what}{suggestion(key, shipped)}", accepted=f"a path, or a name listed by {listing}"
    )


def _names(where: Path) -> list[str]:
    return sorted(path.stem for path in _files(where))


def _files(where: Path) -> list[Path]:
    """Spaces and tables of a folder; `schema.json` describes them and is none."""
    if not where.is_dir():
        return []
    return sorted(p for p in where.iterdir() if p.suffix in SUFFIXES and p.stem != "schema")
