"""The fixture that the tests of exports have."""

from ..export.conftest import torch_and_timm as torch_and_timm
