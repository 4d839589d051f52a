# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Machine code of the kernels: NVRTC at first use, kept on disk by source, compute capability and compiler version."""

import hashlib
import os
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from kernels.cuda.layout import Shape

SOURCES = ("clouds.cuh", "order.cu", "boxes.cu", "nearest.cu", "chamfer.cu")
COMPILERS = ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")


def source_text() -> str:
    """The CUDA source as one text; the files include nothing."""
    folder = Path(__file__).parent.parent / "csrc"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in SOURCES)


def cache_folder() -> Path:
    """SCENEFLOW_KERNEL_CACHE, or sceneflow/kernels below the user's cache folder."""
    given = os.environ.get("SCENEFLOW_KERNEL_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sceneflow" / "kernels"


def machine_code(arch: str, shape: Shape) -> tuple[bytes, bool]:
    """Return the kernels as a cubin for arch, such as `sm_90`, and whether it came from the disk cache.

    Raises:
        RuntimeError: no NVRTC here, or it cannot compile for this GPU; the text says what to do.
    """
    text = source_text()
    key = hashlib.sha256(repr((text, arch, shape, compiler_version())).encode()).hexdigest()[:32]
    file = cache_folder() / f"{arch}-{key}.cubin"
    try:
        return file.read_bytes(), True
    except OSError:
        code = compile_source(text, arch, shape)
    _keep(file, code)
    return code, False


def compile_source(text: str, arch: str, shape: Shape) -> bytes:
    """Compile to machine code; needs NVRTC but no GPU and no driver.

    Raises:
        RuntimeError: as `machine_code`.
    """
    try:
        from cuda.core import Program, ProgramOptions
    except ImportError as error:
        raise RuntimeError(
            f"CUDA tensors need cuda-core and NVRTC to build the kernels: install sceneflow[cuda] ({error})"
        ) from error
    macros = [(name.upper(), str(value)) for name, value in asdict(shape).items()]
    # No contraction: the distance must round as it does on the CPU.
    options = ProgramOptions(arch=arch, std="c++17", fma=False, define_macro=macros)
    try:
        return bytes(Program(text, "c++", options).compile("cubin").code)
    except Exception as error:  # NVRTC missing, too old for this GPU: each has its own exception type
        raise RuntimeError(f"NVRTC could not build the kernels for {arch}: {error}") from error


def compiler_version() -> str:
    """Version of NVRTC, from the installed package's name plate, since loading the library takes longer."""
    for name in COMPILERS:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    try:
        from cuda.bindings import nvrtc

        return f"nvrtc {nvrtc.nvrtcVersion()[1:]}"
    except (ImportError, RuntimeError):
        return "none"


def _keep(file: Path, code: bytes) -> None:
    """Write the cache file in one step; a folder that cannot be written only costs the next start a build."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            part.write(code)
        os.replace(part.name, file)
    except OSError:
        return
