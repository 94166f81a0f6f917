"""What libraries in other languages write to this process's stderr, past Python."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Drops what is written to stderr inside: stack traces of what the caller catches, warnings that help nobody here.

    If the block raises, what was written comes after all: it may say why.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            heard.seek(0)
            sys.stderr.write(heard.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
