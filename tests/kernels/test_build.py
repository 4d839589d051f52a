# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest
import torch

from kernels.cuda import build, driver, layout

try:
    import cuda.core  # noqa: F401
    from cuda.bindings import nvrtc

    nvrtc.nvrtcVersion()
    missing = ""
except (ImportError, RuntimeError) as error:
    missing = str(error)

needs_nvrtc = pytest.mark.skipif(bool(missing), reason=f"the cuda extra is not installed here ({missing})")
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


@needs_nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_compiles_to_machine_code(arch):
    code = build.compile_source(build.source_text(), arch, layout.SHAPE)
    assert code[:4] == b"\x7fELF"
    for name in driver.KERNELS:
        assert b".text." + name.encode() + b"\0" in code


@needs_nvrtc
def test_disk_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCENEFLOW_KERNEL_CACHE", str(tmp_path / "kernels"))
    first, cached = build.machine_code("sm_90", layout.SHAPE)
    assert not cached
    assert build.machine_code("sm_90", layout.SHAPE) == (first, True)
    assert not build.machine_code("sm_80", layout.SHAPE)[1]
    assert not build.machine_code("sm_90", layout.Shape(leaf=8))[1]
    assert len(list((tmp_path / "kernels").iterdir())) == 3


@needs_nvrtc
def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCENEFLOW_KERNEL_CACHE", str(tmp_path / "file" / "kernels"))
    code, cached = build.machine_code("sm_90", layout.SHAPE)
    assert code and not cached


@needs_nvrtc
def test_a_failed_build_says_why():
    with pytest.raises(RuntimeError, match="(?s)NVRTC could not build the kernels for sm_90: .*broken"):
        build.compile_source("__device__ int f() { return broken; }", "sm_90", layout.SHAPE)
    with pytest.raises(RuntimeError, match="NVRTC could not build the kernels for sm_10"):
        build.compile_source(build.source_text(), "sm_10", layout.SHAPE)


@pytest.mark.skipif(not missing, reason="cuda-core is installed here")
def test_without_the_extra():
    with pytest.raises(RuntimeError, match=r"install sceneflow\[cuda\]"):
        build.compile_source(build.source_text(), "sm_90", layout.SHAPE)


def test_import_is_silent_and_loads_no_cuda_library():
    program = (
        "import torch, scipy.spatial\n"
        "from pathlib import Path\n"
        "maps = Path('/proc/self/maps')\n"
        "read = lambda: {line.split()[-1] for line in maps.read_text().splitlines() if '.so' in line}\n"
        "before = read()\n"
        "import kernels, kernels.chamfer, kernels.nearest\n"
        "new = [name for name in read() - before if 'cuda' in name or 'nvrtc' in name]\n"
        "assert not new, new\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_layout_of_a_batch():
    """By hand: three samples of 1025, 0 and 9000 points."""
    (found,) = layout.layouts((0, 1025, 1025, 10025), layout.Shape(leaf=16))
    arrays = layout.TABLE.unpack(found.table)
    width = layout.SAMPLES + 1
    assert arrays[:4] == (0, 1025, 1025, 10025)
    assert arrays[width : width + 4] == (0, 2, 2, 11)
    assert arrays[2 * width : 2 * width + 4] == (0, 4096, 4096, 4096 + 16384)
    assert arrays[-1] == 3
    assert found.kept == (11 * 1024 * 16, 11 * 64 * 32, 22 * 32, 3 * 32, 8 * 10025)
    assert found.zeroed == (3 * 32, 20480 * 4, 5 * 4, 12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
def test_a_failed_build_is_remembered(monkeypatch):
    tries = []
    real = build.compile_source
    monkeypatch.setattr(driver, "SHAPE", layout.Shape(leaf=7))  # refused by a static_assert
    monkeypatch.setattr(build, "compile_source", lambda *given: tries.append(1) or real(*given))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="NVRTC could not build the kernels"):
            driver.kernels_for(torch.device("cuda"))
    assert len(tries) == 1
