# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of the machine are one sentence with what to do; by the errors themselves where they can be made."""

import errno
import os
import signal

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from stages.pipeline.machine import machine_fault


def raised_by_numpy() -> None:
    np.empty(2**60, np.uint8)


def raised_by_torch() -> None:
    torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize("raises", [raised_by_numpy, raised_by_torch])
def test_a_lack_of_memory(raises) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        raises()
    fault = machine_fault(caught.value) or ""
    assert fault.startswith("the machine's memory is full: lower `workers` in compute.yaml")
    assert ("1.00 EiB" in fault) == isinstance(caught.value, MemoryError)  # how much, where it alone tells that


class Killed(Dataset[int]):
    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 4

    def __getitem__(self, key: int) -> int:
        os.kill(os.getpid(), self.number)
        return key


@pytest.mark.parametrize(
    ("number", "start"),
    [(signal.SIGKILL, "a process that reads ahead was killed"), (signal.SIGBUS, "/dev/shm is too small")],
)
def test_a_reader_that_is_killed_while_it_is_waited_for(number: int, start: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(Killed(number), num_workers=1))
    assert (machine_fault(caught.value) or "").startswith(start)


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB.", "the GPU's memory is full"),
        ("the kernels were not loaded (CUDA error 2: out of memory)", "the GPU's memory is full"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "the GPU's memory is full"),
        (
            "DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that dataloader's workers are"
            " out of shared memory. Please try to raise your shared memory limit.",
            "/dev/shm is too small",
        ),
        (
            "unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)",
            "/dev/shm is too small",  # and not the disk
        ),
        ("DataLoader worker (pid 5) is killed by signal: Killed.", "a process that reads ahead was killed"),
        ("unable to write: No space left on device", "No space left on device; the disk is full"),
    ],
)
def test_what_only_a_text_tells(text: str, start: str) -> None:
    assert (machine_fault(RuntimeError(text)) or "").startswith(start)


def test_a_full_disk_names_the_file() -> None:
    fault = machine_fault(OSError(errno.ENOSPC, "No space left on device", "/data/a.h5"))
    assert fault is not None and "(/data/a.h5); the disk is full" in fault


@pytest.mark.parametrize(
    "error", [RuntimeError("out of resource: shared memory"), ValueError("a cloud must be (n, 3)"), KeyError("x")]
)
def test_defects_are_no_fault_of_the_machine(error: Exception) -> None:
    assert machine_fault(error) is None
