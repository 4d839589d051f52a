# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The few driver calls that run a kernel, straight from libcuda: no package to import on the way to a launch."""

import ctypes
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch

from kernels.cuda.build import compiler_release, machine_code
from kernels.cuda.layout import SHAPE, Shape

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
KERNELS = ("build", "search", "search_apart", "reduce", "gradient")
BUILD_THREADS = 1024
# Statuses that blame the code or the driver's age, and so stay: no image for this GPU, unsupported or invalid PTX,
# unsupported version. Others, such as a lack of memory, may pass.
REFUSALS = (200, 209, 218, 222, 223)

_lock = threading.Lock()
_failures: dict[tuple[str, Shape], str] = {}
_modules: dict[tuple[str, Shape], dict[str, int]] = {}
_devices: dict[tuple[int | None, Shape], tuple[dict[str, int], int, int]] = {}


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(DRIVER)
    unsigned: Any = ctypes.c_uint
    pointer: Any = ctypes.c_void_p
    library.cuLaunchKernel.argtypes = [pointer] + [unsigned] * 7 + [pointer] * 3
    library.cuLaunchCooperativeKernel.argtypes = [pointer] + [unsigned] * 7 + [pointer] * 2
    library.cuMemsetD8Async.argtypes = [ctypes.c_ulonglong, ctypes.c_ubyte, ctypes.c_size_t, pointer]
    library.cuCtxSetCurrent.argtypes = [pointer]
    library.cuLibraryLoadData.argtypes = [pointer, ctypes.c_char_p] + [pointer, pointer, unsigned] * 2
    library.cuLibraryGetKernel.argtypes = [pointer, pointer, ctypes.c_char_p]
    library.cuGetErrorString.argtypes = [ctypes.c_int, pointer]
    return library


def _explain(status: int) -> str:
    text = ctypes.c_char_p()
    _library().cuGetErrorString(status, ctypes.byref(text))
    return f"CUDA error {status}: {(text.value or b'unknown').decode()}"


def kernels_for(device: torch.device) -> tuple[dict[str, int], int, int]:
    """Kernels by name, the context, and how many blocks of `build` fit on a device at once.

    Built and loaded at the first call; a failure is remembered, unless it may pass, as a lack of memory.

    Raises:
        RuntimeError: they cannot be built or loaded on this machine; one sentence says why.
    """
    found = _devices.get((device.index, SHAPE))
    if found is None:
        with _lock:
            major, minor = torch.cuda.get_device_capability(device)
            kernels = _load_once(f"sm_{major}{minor}")
            context = _primary_context(device)
            found = kernels, context, _resident(device, kernels["build"])
        _devices[device.index, SHAPE] = found
    return found


def _primary_context(device: torch.device) -> int:
    """The context that torch uses. A thread that only got cached memory from torch has none yet."""
    context = ctypes.c_void_p()
    _check(_library().cuDevicePrimaryCtxRetain(ctypes.byref(context), device.index), "no context")
    _check(_library().cuCtxSetCurrent(context), "no context")
    return context.value or 0


def _resident(device: torch.device, kernel: int) -> int:
    function, blocks = ctypes.c_void_p(), ctypes.c_int()
    library = _library()
    _check(library.cuKernelGetFunction(ctypes.byref(function), ctypes.c_void_p(kernel)), "build cannot run here")
    query = library.cuOccupancyMaxActiveBlocksPerMultiprocessor
    _check(query(ctypes.byref(blocks), function, BUILD_THREADS, ctypes.c_size_t(0)), "build cannot run here")
    return blocks.value * torch.cuda.get_device_properties(device).multi_processor_count


def _check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what} ({_explain(status)})")


def _load_once(arch: str) -> dict[str, int]:
    """One module serves all devices of a compute capability."""
    key = arch, SHAPE
    if key in _failures:
        raise RuntimeError(_failures[key])
    if key not in _modules:
        try:
            code, _ = machine_code(arch, SHAPE)
            _modules[key] = load(code, arch, KERNELS)
        except _MayPass:
            raise
        except RuntimeError as error:
            _failures[key] = str(error)
            raise
    return _modules[key]


class _MayPass(RuntimeError):
    """A failure that says nothing of the next try."""


def load(code: bytes, arch: str, names: Sequence[str]) -> dict[str, int]:
    """Hand machine code to the driver; return the kernels by name.

    Raises:
        RuntimeError: the driver does not take it; one sentence says why.
    """
    library = ctypes.c_void_p()
    try:
        status = _library().cuLibraryLoadData(ctypes.byref(library), code, None, None, 0, None, None, 0)
    except AttributeError as error:
        raise RuntimeError("the NVIDIA driver is older than CUDA 12: update it to search on the GPU") from error
    if status in REFUSALS:
        raise RuntimeError(_refusal(arch, status))
    if status:
        raise _MayPass(f"the kernels were not loaded ({_explain(status)})")
    handles = {}
    for name in names:
        kernel = ctypes.c_void_p()
        status = _library().cuLibraryGetKernel(ctypes.byref(kernel), library, name.encode())
        if status or kernel.value is None:
            raise RuntimeError(f"kernel {name} is missing from the module for {arch} ({_explain(status)})")
        handles[name] = kernel.value
    return handles


def _refusal(arch: str, status: int) -> str:
    number, compiler = ctypes.c_int(), compiler_release().rpartition("-")[2]  # of a wheel's name
    _library().cuDriverGetVersion(ctypes.byref(number))
    driver = f"{number.value // 1000}.{number.value % 1000 // 10}"
    if int(driver.split(".")[0]) < int(compiler.split(".")[0]):
        return (
            f"the NVIDIA driver goes up to CUDA {driver} and refuses kernels built by NVRTC {compiler}: "
            "update the driver, or install sceneflow[cuda12] in place of sceneflow[cuda]"
        )
    return f"the NVIDIA driver refuses the kernels for {arch} ({_explain(status)}): update the driver"


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a device the current one, where it is not."""
    return nullcontext() if torch.cuda.current_device() == device.index else torch.cuda.device(device)


class Launcher:
    """Launches kernels on the current stream of a device, which must be the current device.

    Args:
        device: a CUDA device.
        more: kernels by name that were loaded beside those of the package.
    """

    def __init__(self, device: torch.device, more: Mapping[str, int] | None = None) -> None:
        kernels, context, self.resident = kernels_for(device)
        self.kernels = {**kernels, **more} if more else kernels
        self.library = _library()
        self.library.cuCtxSetCurrent(context)
        self.stream = torch.cuda.current_stream(device).cuda_stream

    def zero(self, address: int, size: int) -> None:
        """Set memory to zero."""
        _check(self.library.cuMemsetD8Async(address, 0, size, self.stream), "memory was not set to zero")

    def __call__(self, name: str, blocks: int, clouds: int, threads: int, *structs: bytes) -> None:
        """Run a kernel over `blocks` x `clouds` blocks; the structs are copied before this returns."""
        if blocks == 0:
            return
        pointers = (ctypes.c_char_p * len(structs))(*structs)
        status = self.library.cuLaunchKernel(
            self.kernels[name], blocks, clouds, 1, threads, 1, 1, 0, self.stream, pointers, None
        )
        if status:
            raise RuntimeError(f"kernel {name} was not launched ({_explain(status)})")

    def together(self, name: str, items: int, threads: int, struct: bytes) -> None:
        """Run a kernel whose blocks wait for each other, on at most as many as fit at once."""
        if items == 0:
            return
        pointers = (ctypes.c_char_p * 1)(struct)
        blocks = min(items, self.resident)
        status = self.library.cuLaunchCooperativeKernel(
            self.kernels[name], blocks, 1, 1, threads, 1, 1, 0, self.stream, pointers
        )
        if status:
            raise RuntimeError(f"kernel {name} was not launched ({_explain(status)})")
