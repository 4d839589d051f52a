# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Machine code of the kernels: NVRTC at first use, kept on disk by source, options, compute capability and compiler."""

import hashlib
import os
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from kernels.cuda.layout import Shape

SOURCES = ("clouds.cuh", "order.cu", "boxes.cu", "nearest.cu", "chamfer.cu")
# No contraction: the distance must round as it does on the CPU.
OPTIONS: dict[str, Any] = {"std": "c++17", "fma": False}
OLDEST = 70  # Volta: the kernels need warps whose threads go on by themselves
DIGEST = hashlib.sha256().digest_size  # bytes in front of the code in a cache file


def source_text() -> str:
    """The CUDA source as one text; the files include nothing."""
    folder = Path(__file__).parent.parent / "csrc"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in SOURCES)


def cache_folder() -> Path | None:
    """SCENEFLOW_KERNEL_CACHE, or sceneflow/kernels below the user's cache folder; None for a user without a home."""
    given = os.environ.get("SCENEFLOW_KERNEL_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "sceneflow" / "kernels"
    except RuntimeError:  # neither HOME nor an entry among the users, as in a container under a foreign number
        return None


def machine_code(arch: str, shape: Shape) -> tuple[bytes, bool]:
    """Return the kernels as a cubin for arch, such as `sm_90`, and whether it came from the disk cache.

    Raises:
        RuntimeError: no NVRTC here, or it cannot compile for this GPU; one sentence says why.
    """
    text = source_text()
    key = hashlib.sha256(repr((text, arch, shape, OPTIONS, compiler_release())).encode()).hexdigest()[:32]
    folder = cache_folder()
    file = None if folder is None else folder / f"{arch}-{key}.kernels"
    kept = None if file is None else _kept(file)
    if kept is not None:
        return kept, True
    code = compile_source(text, arch, shape)
    if file is not None:
        _keep(file, code)
    return code, False


def compile_source(text: str, arch: str, shape: Shape) -> bytes:
    """Compile to machine code; needs NVRTC but no GPU and no driver.

    Raises:
        RuntimeError: as `machine_code`.
    """
    version = compiler_version()
    try:
        from cuda.core import Program, ProgramOptions
    except ImportError as error:
        raise RuntimeError(_needed(f"cuda-core is missing ({error})")) from error
    if int(arch.removeprefix("sm_").rstrip("af")) < OLDEST:
        raise RuntimeError(f"the kernels need a GPU of compute capability 7.0 (Volta) or later, this one is {arch}")
    known = supported()
    if arch not in known:
        raise RuntimeError(
            f"NVRTC {version} builds for {known[0]} to {known[-1]} and not for this GPU, {arch}: "
            "Volta (sm_70, sm_72) needs sceneflow[cuda12], a newer GPU a newer NVRTC"
        )
    macros = [(name.upper(), str(value)) for name, value in asdict(shape).items()]
    options = ProgramOptions(arch=arch, define_macro=macros, **OPTIONS)
    try:
        return bytes(Program(text, "c++", options).compile("cubin").code)
    except Exception as error:  # cuda-core has its own exception types, and its versions differ in them
        raise RuntimeError(f"NVRTC {version} could not build the kernels for {arch}: {_complaint(error)}") from error


def compiler_release() -> str:
    """What tells one NVRTC from another: its wheel beside torch, such as `nvidia_cuda_nvrtc-13.0.88`, else its version.

    Loading the library only to ask for its version is most of a start with a filled cache.

    Raises:
        RuntimeError: as `compiler_version`.
    """
    wheels = list(Path(torch.__file__).parents[1].glob("nvidia_cuda_nvrtc*.dist-info"))
    return wheels[0].stem if len(wheels) == 1 else compiler_version()


def compiler_version() -> str:
    """Version of the NVRTC library that is loaded here, such as `13.0`.

    Raises:
        RuntimeError: there is none; one sentence says what to install.
    """
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise RuntimeError(_needed(f"cuda-bindings is missing ({error})")) from error
    try:
        _, major, minor = nvrtc.nvrtcVersion()
    except RuntimeError as error:  # its text lists every place that was searched
        raise RuntimeError(_needed("the library libnvrtc was not found")) from error
    return f"{major}.{minor}"


def supported() -> list[str]:
    """Architectures that the loaded NVRTC builds for, ascending."""
    from cuda.bindings import nvrtc

    return [f"sm_{number}" for number in sorted(nvrtc.nvrtcGetSupportedArchs()[1])]


def _needed(reason: str) -> str:
    return f"CUDA tensors need NVRTC and cuda-core to build the kernels, and {reason}: install sceneflow[cuda]"


def _complaint(error: Exception) -> str:
    """The first error in a compiler's log, without the lines of source around it."""
    lines = [line.strip(" \0") for line in str(error).splitlines()]
    return next((line for line in lines if "error:" in line), lines[0] if lines else type(error).__name__)


def _kept(file: Path) -> bytes | None:
    """The code in a cache file; None if there is no such file, or not the whole of it."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, code = content[:DIGEST], content[DIGEST:]
    return code if hashlib.sha256(code).digest() == digest else None


def _keep(file: Path, code: bytes) -> None:
    """Write the cache file in one step; a folder that cannot be written only costs the next start a build."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as stream:  # with the user's usual permissions, since a cache may be shared
                stream.write(hashlib.sha256(code).digest() + code)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
    except OSError:
        return
