"""One setting for the whole suite: faster CPU compiles, no compilation cache, hypothesis without a clock."""

from __future__ import annotations

import os

os.environ.setdefault("DNAS_CACHE", "")

from dnas.process.backend import configure  # noqa: E402

configure()

from hypothesis import settings  # noqa: E402

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
