# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The few driver calls that run a kernel, straight from libcuda: no package to import on the way to a launch."""

import ctypes
import sys
import threading
from functools import cache
from typing import Any

import torch

from kernels.cuda.build import cache_folder, machine_code
from kernels.cuda.layout import SHAPE, Shape

KERNELS = ("survey", "count", "scan", "scatter", "arrange", "search", "reduce", "gradient")

_lock = threading.Lock()
_failures: dict[tuple[str, Shape], str] = {}
_modules: dict[tuple[str, Shape], dict[str, int]] = {}
_devices: dict[tuple[int | None, Shape], dict[str, int]] = {}


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    unsigned: Any = ctypes.c_uint
    pointer: Any = ctypes.c_void_p
    library.cuLaunchKernel.argtypes = [pointer] + [unsigned] * 7 + [pointer] * 3
    library.cuLibraryLoadData.argtypes = [pointer, ctypes.c_char_p] + [pointer, pointer, unsigned] * 2
    library.cuLibraryGetKernel.argtypes = [pointer, pointer, ctypes.c_char_p]
    library.cuGetErrorString.argtypes = [ctypes.c_int, pointer]
    return library


def _explain(status: int) -> str:
    text = ctypes.c_char_p()
    _library().cuGetErrorString(status, ctypes.byref(text))
    return f"CUDA error {status}: {(text.value or b'unknown').decode()}"


def kernels_for(device: torch.device) -> dict[str, int]:
    """Handles of the kernels by name for a device, built and loaded at the first call; a failure is remembered.

    Raises:
        RuntimeError: they cannot be built or loaded on this machine; one sentence says why.
    """
    loaded = _devices.get((device.index, SHAPE))
    if loaded is None:
        with _lock:
            loaded = _load_once(device)
        _devices[device.index, SHAPE] = loaded
    return loaded


def _load_once(device: torch.device) -> dict[str, int]:
    """One module serves all devices of a compute capability."""
    major, minor = torch.cuda.get_device_capability(device)
    key = f"sm_{major}{minor}", SHAPE
    if key in _failures:
        raise RuntimeError(_failures[key])
    if key not in _modules:
        try:
            _modules[key] = _load(key[0])
        except RuntimeError as error:
            _failures[key] = str(error)
            raise
    return _modules[key]


def _load(arch: str) -> dict[str, int]:
    code, cached = machine_code(arch, SHAPE)
    library = ctypes.c_void_p()
    try:
        status = _library().cuLibraryLoadData(ctypes.byref(library), code, None, None, 0, None, None, 0)
    except AttributeError as error:
        raise RuntimeError("the NVIDIA driver is older than CUDA 12: update it to search on the GPU") from error
    if status:
        origin = f"the disk cache ({cache_folder()})" if cached else "NVRTC"
        raise RuntimeError(
            f"the NVIDIA driver refuses the kernels for {arch} that came from {origin} ({_explain(status)}): "
            "update the driver, or empty that cache and install an NVRTC of the driver's CUDA version"
        )
    handles = {}
    for name in KERNELS:
        kernel = ctypes.c_void_p()
        status = _library().cuLibraryGetKernel(ctypes.byref(kernel), library, name.encode())
        if status or kernel.value is None:
            raise RuntimeError(f"kernel {name} is missing from the module for {arch} ({_explain(status)})")
        handles[name] = kernel.value
    return handles


class Launcher:
    """Launches kernels on the current stream of a device, which must be the current device."""

    def __init__(self, device: torch.device) -> None:
        self.kernels = kernels_for(device)
        self.stream = torch.cuda.current_stream(device).cuda_stream
        self.launch = _library().cuLaunchKernel

    def __call__(self, name: str, blocks: int, clouds: int, threads: int, *structs: bytes) -> None:
        """Run a kernel over `blocks` x `clouds` blocks; the structs are copied before this returns."""
        if blocks == 0:
            return
        pointers = (ctypes.c_char_p * len(structs))(*structs)
        status = self.launch(self.kernels[name], blocks, clouds, 1, threads, 1, 1, 0, self.stream, pointers, None)
        if status:
            raise RuntimeError(f"kernel {name} was not launched ({_explain(status)})")
