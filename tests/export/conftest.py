"""torch and timm, where they are installed."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(scope="session")
def torch_and_timm():
    """torch and timm, or a skip with the reason."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    try:
        import timm as package
    except ImportError as error:
        pytest.skip(f"timm is not installed ({error})")
    except RuntimeError:
        # torch's CPU build with torchvision's CUDA build: declaring its operators is enough to import it.
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch._dnas_keep = library
        for module in [m for m in sys.modules if m.split(".")[0] in ("timm", "torchvision")]:
            del sys.modules[module]
        package = pytest.importorskip("timm", exc_type=(ImportError, RuntimeError))
    return torch, package
