"""Where a result came from: command, host, device and versions. Clocks and hosts are written here and nowhere else."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from importlib import metadata
from typing import Any

PACKAGES = ("dnas", "jax", "jaxlib", "flax", "optax", "numpy", "numba")
"""Those that a result depends on."""
WRITERS = ("orbax-checkpoint", "safetensors", "msgspec", "PyYAML", "pillow")
"""Those that read and write files."""


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Package -> installed version."""
    return {name: _version(name) for name in packages}


def provenance() -> dict[str, Any]:
    """Command, date, host, platform, device and versions of this process."""
    import jax

    return {
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "device": str(jax.devices()[0]),
        "device_kind": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
        "versions": versions((*PACKAGES, *WRITERS)),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed as a package"
