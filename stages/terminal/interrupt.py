# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in a command: one line and exit code 130, wherever it comes."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ended


def run_command(main: Callable[[], int | None], kept: str = "") -> NoReturn:
    """Run a command and end the process with its exit code.

    Ctrl-C is an exception as ever, so that nothing half-written stays behind, but for the time of an import: there
    libraries in C++ abort on an exception, torch among them, and nothing is being written yet.

    Args:
        main: the command.
        kept: what of its work an interrupt leaves, after a semicolon.
    """
    line = f"interrupted; {kept}" if kept else "interrupted"

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if _imports(frame):
            _leave(line)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a shell's background job does not listen to Ctrl-C
        signal.signal(signal.SIGINT, interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _leave(line)


def _imports(frame: FrameType | None) -> bool:
    """Whether Python is importing a module."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave(line: str) -> NoReturn:
    """End at once: at Python's orderly end libraries wait for their threads, and a second Ctrl-C shows a traceback."""
    try:
        sys.stdout.flush()
        sys.stderr.write(f"\n{line}\n")
        sys.stderr.flush()
    finally:  # also where nobody reads the messages any more
        os._exit(_INTERRUPTED)
