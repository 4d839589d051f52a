# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of the machine, told apart from defects of the program and said in one sentence with the remedy."""

import errno
import os

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space, or move the store (`store` in compute.yaml)",
    errno.EDQUOT: "the disk quota is used up: free some space, or move the store (`store` in compute.yaml)",
    errno.EFBIG: "the file is larger than this process may write: raise the limit (`ulimit -f`)",
    errno.EROFS: "the file system is read-only: make it writable, or move the store (`store` in compute.yaml)",
    errno.EACCES: "permission is missing: change the owner or the rights of the file or of its folder",
    errno.EPERM: "permission is missing: change the owner or the rights of the file or of its folder",
    errno.EMFILE: "too many files are open: raise the limit (`ulimit -n`)",
    errno.ESTALE: "the file system lost the file: mount it again",
    errno.EIO: "the disk reports a fault: look at the system's log before you trust it again",
}

_NO_MEMORY = "the machine's memory is full: lower `workers` in compute.yaml"
_NO_GPU_MEMORY = "the GPU's memory is full: end other programs on it, lower `train.batch`, or raise `train.accumulate`"
_NO_SHARED_MEMORY = "/dev/shm is too small for the processes that read ahead: enlarge it (a container: `--shm-size=8g`)"
# Of memory: what errors say of it, in lower case, and the sentence for them. The first that fits counts.
_SHORTAGES = (
    (("cuda", "out of memory"), _NO_GPU_MEMORY),
    (("cublas_status_alloc_failed",), _NO_GPU_MEMORY),
    (("out of shared memory",), _NO_SHARED_MEMORY),
    (("unable to allocate shared memory",), _NO_SHARED_MEMORY),
    (
        ("dataloader worker", "killed by signal: killed"),
        "a process that reads ahead was killed, most often for lack of memory: lower `workers` in compute.yaml",
    ),
    (("can't allocate memory",), _NO_MEMORY),
    ((os.strerror(errno.ENOMEM).lower(),), _NO_MEMORY),
)


def machine_fault(error: BaseException) -> str | None:
    """A sentence for an error that is the machine's, None for any other.

    Libraries that write by themselves hide the error number: HDF5, Arrow and safetensors put it into their text,
    torch writes only that a file is shorter than it made it.
    """
    if shortage := _shortage(error):
        return shortage
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        text = f"{error}".lower()
        numbers = [code for code in _REMEDIES if os.strerror(code).lower() in text or f"os error {code}" in text]
        number = errno.ENOSPC if "inline_container" in text and "unexpected pos" in text else next(iter(numbers), None)
    if number not in _REMEDIES:
        return None
    place = getattr(error, "filename", None)
    return f"{os.strerror(number)}{f' ({place})' if place else ''}; {_REMEDIES[number]}"


def _shortage(error: BaseException) -> str | None:
    text = _texts(error).lower()
    found = next((sentence for signs, sentence in _SHORTAGES if all(sign in text for sign in signs)), None)
    if found is None and isinstance(error, MemoryError):
        last = f"{error}".strip().rpartition("\n")[2]  # a worker's has a traceback before it
        return f"{_NO_MEMORY} ({last})" if last else _NO_MEMORY
    return found


def _texts(error: BaseException | None) -> str:
    """Of an error and of those that caused it: torch says of a lost reader only there what killed it."""
    texts = []
    while error is not None:
        texts.append(f"{error}")
        error = error.__cause__
    return "\n".join(texts)
