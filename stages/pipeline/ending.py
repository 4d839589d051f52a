# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How a process ends early: at once. Nothing is lost by that, and nothing may outlive the run that asked for it."""

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_SHELLS = ("sh", "dash", "bash", "zsh", "fish", "ksh", "ash", "busybox")
_INTERRUPTED = 130  # what a shell reports of a command that Ctrl-C ended


def end_on_signals(name: str) -> None:
    """Let Ctrl-C and SIGTERM end this stage at once, with one sentence.

    No exception is raised: it would run through libraries that wait for their threads or, half torn down, crash.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        try:
            sys.stderr.write(f"\n{name} was interrupted; what is finished is kept, logs and epochs of training\n")
            sys.stderr.flush()
        finally:  # also where nobody reads the messages any more
            os._exit(_INTERRUPTED)

    signal.signal(signal.SIGTERM, leave)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a shell's background job does not listen to Ctrl-C
        signal.signal(signal.SIGINT, leave)


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends, however it ends.

    DVC that is killed would leave its stage writing into the outputs of the next run, a stage its workers.

    Args:
        parent: process that started this one; where it is gone by now, this process ends here.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent or _collects_orphans(parent):
        os._exit(_INTERRUPTED)


def end_with_dvc() -> None:
    """Let this stage end with the DVC that runs it, also where a shell stands between the two.

    Some shells replace themselves by a lone command, and some, `sh` of Debian among them, wait for it. A step of Slurm
    (`srun` in the stage's command) is left to Slurm, which starts it from a thread that does not stay.
    """
    parent = os.getppid()
    name, grandparent = _name_and_parent(parent)
    if name.startswith("slurm"):
        return
    end_with_parent(parent)
    if name in _SHELLS:
        threading.Thread(target=_die_with, args=(grandparent, parent), daemon=True).start()


def _die_with(process: int, child: int) -> None:
    """Wait for the end of a process, which `child` shows by changing parents, then end like it."""
    with contextlib.suppress(OSError):  # already gone, or of another user
        poll = select.poll()
        poll.register(os.pidfd_open(process), select.POLLIN)
        if _name_and_parent(child)[1] == process:
            poll.poll()
    if _name_and_parent(child)[1] != process:
        os.kill(os.getpid(), signal.SIGKILL)


def _name_and_parent(process: int) -> tuple[str, int]:
    """Name and parent of a process, empty and 0 where there is none."""
    try:
        name, _, rest = Path(f"/proc/{process}/stat").read_text().partition(" (")[2].rpartition(") ")
    except OSError:
        return "", 0
    return name, int(rest.split()[1])


def _collects_orphans(parent: int) -> bool:
    """Whether our parent took us over: init of another session than ours, which started nothing here.

    In a container DVC itself may be process 1; then its session is ours.
    """
    init = parent == 1 or _name_and_parent(parent)[0] in ("systemd", "init")
    return init and os.getsid(parent) != os.getsid(0)
