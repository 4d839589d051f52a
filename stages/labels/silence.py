# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Keeping C++ libraries that talk on stdout and stderr quiet."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STREAMS = (1, 2)  # file descriptors of stdout and stderr, which C++ writes to behind Python's back


@contextmanager
def silenced() -> Iterator[None]:
    """Send file descriptors 1 and 2 to the null device for the length of the block.

    Python's own streams are flushed first, so nothing that was printed before is lost. It acts on the whole
    process: no other thread should print meanwhile.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(stream) for stream in _STREAMS]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in _STREAMS:
            os.dup2(null, stream)
        yield
    finally:
        for stream, copy in zip(_STREAMS, saved, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(null)
