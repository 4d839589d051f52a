# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import ctypes.util
import os
import shutil
import subprocess
import sys

import pytest

from kernels.cuda import build, driver, layout
from tests.kernels.rivals import BRUTE

try:
    import cuda.core  # noqa: F401
    from cuda.bindings import nvrtc

    nvrtc.nvrtcVersion()
    missing = ""
    # From Turing to consumer Blackwell; which there are in between depends on the version of NVRTC.
    architectures = [f"sm_{number}" for number in nvrtc.nvrtcGetSupportedArchs()[1] if 75 <= number <= 120]
except (ImportError, RuntimeError) as error:
    missing = str(error).splitlines()[0]
    architectures = ["sm_75 to sm_120"]

needs_nvrtc = pytest.mark.skipif(bool(missing), reason=f"the cuda extra is not installed here ({missing})")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler (g++) here")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A new folder; the header alone, without a kernel, compiles in no time."""
    monkeypatch.setenv("SCENEFLOW_KERNEL_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(build, "SOURCES", build.SOURCES[:1])
    return tmp_path / "kernels"


@needs_nvrtc
@pytest.mark.parametrize("arch", architectures)
def test_compiles_to_machine_code(arch):
    code = build.compile_source(build.source_text(), arch, layout.SHAPE)
    assert code[:4] == b"\x7fELF"
    for name in driver.KERNELS:
        assert b".text." + name.encode() + b"\0" in code


@needs_nvrtc
def test_machine_code_is_for_each_capability_of_the_promise():
    assert {"sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_103", "sm_120"} <= {*architectures}


@needs_nvrtc
def test_the_rival_of_our_own_compiles():
    assert b".text.brute\0" in build.compile_source(BRUTE, "sm_90", layout.SHAPE)


@needs_nvrtc
@pytest.mark.parametrize(
    "given, text",
    [
        ({"leaf": 64}, "leaf must be a power of two from 2 to 32"),
        ({"leaf": 1, "lanes": 1}, "leaf must be a power of two from 2 to 32"),
        ({"leaf": 2}, "lanes must be a power of two and at most the points of a leaf"),
        ({"lanes": 3}, "lanes must be a power of two and at most the points of a leaf"),
        ({"warps": 3}, "warps must be a power of two from 1 to 32"),
        ({"patience": 0}, "patience and resident must be at least 1"),
    ],
)
def test_a_shape_that_cannot_work_is_refused(given, text):
    with pytest.raises(RuntimeError, match=text):
        build.compile_source(build.source_text(), "sm_90", layout.Shape(**given))


@needs_nvrtc
@pytest.mark.parametrize("arch", ("sm_50", "sm_61"))
def test_a_gpu_older_than_volta_is_told_so(arch):
    assert _why(build.compile_source, "", arch, layout.SHAPE) == (
        f"the kernels need a GPU of compute capability 7.0 (Volta) or later, this one is {arch}"
    )


@needs_nvrtc
def test_disk_cache(cache, monkeypatch):
    first, cached = build.machine_code("sm_90", layout.SHAPE)
    assert not cached
    assert build.machine_code("sm_90", layout.SHAPE) == (first, True)
    assert not build.machine_code("sm_80", layout.SHAPE)[1]
    assert not build.machine_code("sm_90", layout.Shape(leaf=8))[1]
    monkeypatch.setitem(build.OPTIONS, "fma", True)
    assert not build.machine_code("sm_90", layout.SHAPE)[1]
    assert len(list(cache.iterdir())) == 4


@needs_nvrtc
@pytest.mark.parametrize("length", (0, 10, 1000, -1))
def test_a_damaged_cache_file_is_built_anew(cache, length):
    first, _ = build.machine_code("sm_90", layout.SHAPE)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:length])
    assert build.machine_code("sm_90", layout.SHAPE) == (first, False)
    assert file.read_bytes() == whole
    file.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    assert build.machine_code("sm_90", layout.SHAPE) == (first, False)
    assert build.machine_code("sm_90", layout.SHAPE) == (first, True)


@needs_nvrtc
def test_another_compiler_builds_anew(cache, monkeypatch, tmp_path):
    build.machine_code("sm_90", layout.SHAPE)
    monkeypatch.setattr(build.torch, "__file__", str(tmp_path / "torch" / "__init__.py"))  # no wheel beside it
    assert build.compiler_release() == build.compiler_version()
    assert not build.machine_code("sm_90", layout.SHAPE)[1]
    for version in ("13.0.1", "13.0.2"):
        wheel = tmp_path / f"nvidia_cuda_nvrtc-{version}.dist-info"
        wheel.mkdir()
        assert not build.machine_code("sm_90", layout.SHAPE)[1]
        assert build.machine_code("sm_90", layout.SHAPE)[1]
        wheel.rmdir()


@needs_nvrtc
def test_a_filled_cache_needs_no_compiler(cache):
    program = (
        "import sys\n"
        "from kernels.cuda import build, layout\n"
        "assert build.compiler_release().startswith('nvidia_cuda_nvrtc-')\n"
        "build.SOURCES = build.SOURCES[:1]\n"
        "print(build.machine_code('sm_90', layout.SHAPE)[1], 'cuda.bindings.nvrtc' in sys.modules)\n"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["False", "True"], ["True", "False"]]


def test_two_processes_may_write_at_once(tmp_path):
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from kernels.cuda import build\n"
        "file, codes = Path(sys.argv[1]), [bytes([i]) * 300_000 for i in range(2)]\n"
        "for _ in range(40):\n"
        "    build._keep(file, codes[int(sys.argv[2])])\n"
        "    assert build._kept(file) in codes\n"
    )
    file = tmp_path / "kernels" / "code"
    runs = [subprocess.Popen([sys.executable, "-c", program, str(file), str(i)]) for i in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert list(file.parent.iterdir()) == [file]


def test_a_cache_may_be_shared(tmp_path):
    before = os.umask(0o022)
    try:
        build._keep(tmp_path / "code", b"code")
    finally:
        os.umask(before)
    assert (tmp_path / "code").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_nothing(tmp_path):
    """The disk is full: no file of this process may grow beyond 1,000 bytes."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from kernels.cuda import build\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "build._keep(Path(sys.argv[1]) / 'code', bytes(5000))\n"
    )
    subprocess.run([sys.executable, "-B", "-c", program, str(tmp_path)], check=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "code").mkdir()  # a folder where the file should be
    build._keep(tmp_path / "code", b"code")
    assert list(tmp_path.iterdir()) == [tmp_path / "code"]


@needs_nvrtc
def test_a_cache_that_cannot_be_written_costs_only_time(cache, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCENEFLOW_KERNEL_CACHE", str(tmp_path / "file" / "kernels"))
    code, cached = build.machine_code("sm_90", layout.SHAPE)
    assert code and not cached


@needs_nvrtc
def test_a_user_without_a_home_has_no_cache(cache, monkeypatch):
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "SCENEFLOW_KERNEL_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 9)
    assert build.cache_folder() is None
    code, cached = build.machine_code("sm_90", layout.SHAPE)
    assert code and not cached


def _why(call, *given):
    """The one sentence of a failure: no second line, nothing unprintable, no full stop."""
    with pytest.raises(RuntimeError) as raised:
        call(*given)
    text = str(raised.value)
    assert text.isprintable() and not text.endswith("."), text
    return text


@needs_nvrtc
def test_a_failed_build_says_why():
    version = build.compiler_version()
    assert _why(build.compile_source, "__device__ int f() { return broken; }", "sm_90", layout.SHAPE) == (
        f"NVRTC {version} could not build the kernels for sm_90: "
        'default_program(1): error: identifier "broken" is undefined'
    )
    assert _why(build.compile_source, build.source_text(), "sm_71", layout.SHAPE).startswith(
        f"NVRTC {version} builds for sm_"
    )


def _without(preparation):
    """What is said where something is missing, in a process of its own."""
    program = (
        f"import sys, site\n{preparation}\n"
        "from kernels.cuda import build, layout\n"
        "try: build.machine_code('sm_90', layout.SHAPE)\n"
        "except RuntimeError as error: print(error, end='')\n"
    )
    keep = {
        name: value for name, value in os.environ.items() if name not in ("CUDA_HOME", "CUDA_PATH", "LD_LIBRARY_PATH")
    }
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=keep)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_without_the_extra():
    assert _without("sys.modules['cuda'] = None").startswith(
        "CUDA tensors need NVRTC and cuda-core to build the kernels, and cuda-bindings is missing ("
    )


@needs_nvrtc
@pytest.mark.skipif(bool(ctypes.util.find_library("nvrtc")), reason="the system has an NVRTC of its own")
def test_without_nvrtc():
    """The packages are there, the library is not: no folder of packages is known to those who look for it."""
    assert _without("site.getsitepackages = lambda: []; site.ENABLE_USER_SITE = False") == (
        "CUDA tensors need NVRTC and cuda-core to build the kernels, "
        "and the library libnvrtc was not found: install sceneflow[cuda]"
    )


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Puts a driver of a stated version in the place of libcuda; it refuses all code."""

    def install(version, more, status=209):
        source, library = tmp_path / f"{version}.cpp", tmp_path / f"{version}.so"
        source.write_text(
            f'extern "C" int cuDriverGetVersion(int* version) {{ *version = {version}; return 0; }}\n'
            'extern "C" int cuGetErrorString(int status, const char** text) { *text = "no image"; return 0; }\n'
            + "".join(f'extern "C" int {name}() {{ return {status}; }}\n' for name in NEEDED + more)
        )
        subprocess.run(["g++", "-shared", "-fPIC", "-o", library, source], check=True)
        monkeypatch.setattr(driver, "DRIVER", str(library))
        driver._library.cache_clear()

    yield install
    driver._library.cache_clear()


NEEDED = ("cuLaunchKernel", "cuLaunchCooperativeKernel", "cuMemsetD8Async", "cuCtxSetCurrent")
LIBRARY = ("cuLibraryLoadData", "cuLibraryGetKernel")  # new in CUDA 12


@needs_compiler
def test_a_driver_older_than_cuda_12(stub):
    stub(11080, ())
    assert _why(driver.load, b"code", "sm_90", driver.KERNELS).startswith("the NVIDIA driver is older than CUDA 12")


@needs_nvrtc
@needs_compiler
def test_a_driver_older_than_nvrtc(stub):
    version = build.compiler_release().rpartition("-")[2]
    major = int(version.split(".")[0])
    stub((major - 1) * 1000 + 80, LIBRARY)
    assert _why(driver.load, b"code", "sm_90", driver.KERNELS).startswith(
        f"the NVIDIA driver goes up to CUDA {major - 1}.8 and refuses kernels built by NVRTC {version}: update"
    )
    stub(major * 1000, LIBRARY)
    assert _why(driver.load, b"code", "sm_90", driver.KERNELS) == (
        "the NVIDIA driver refuses the kernels for sm_90 (CUDA error 209: no image): update the driver"
    )


@needs_compiler
def test_a_lack_of_memory_is_told_as_it_is_and_tried_again(stub, monkeypatch):
    monkeypatch.setattr(driver, "machine_code", lambda *_: (b"code", True))
    stub(13000, LIBRARY, status=2)
    for _ in range(2):
        why = _why(driver._load_once, "sm_90")
        assert why == "the kernels were not loaded (CUDA error 2: no image)"  # the stub's text for all
    assert not driver._failures


@needs_nvrtc
def test_a_failed_build_is_remembered(cache, monkeypatch):
    tries = []
    real = build.compile_source
    monkeypatch.setattr(driver, "SHAPE", layout.Shape(leaf=7))  # refused by a static_assert
    monkeypatch.setattr(build, "compile_source", lambda *given: tries.append(1) or real(*given))
    assert len({_why(driver._load_once, "sm_90") for _ in range(2)}) == 1
    assert len(tries) == 1


def test_import_is_silent_and_loads_no_cuda_library():
    program = (
        "import torch, scipy.spatial\n"
        "from pathlib import Path\n"
        "maps = Path('/proc/self/maps')\n"
        "read = lambda: {line.split()[-1] for line in maps.read_text().splitlines() if '.so' in line}\n"
        "before = read()\n"
        "import kernels, kernels.chamfer, kernels.search\n"
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
    # Points 11 * 1024 * 16 bytes, leaves 11 * 64 * 32, tiles 22 * 32, scenes 3 * 32, places 8 * 10025.
    assert found.kept == (0, 180224, 202752, 203456, 203552, 283776)
    # Supers 3 * 32, table 20480 * 4, totals 5 * 4, tickets 3 * 4; 82048 divides by 32.
    assert found.zeroed == (0, 96, 82016, 82036, 82048)
