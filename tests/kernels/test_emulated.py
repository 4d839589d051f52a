# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels and their host code without a GPU: the source compiled as C++, see emulator/."""

import contextlib
import ctypes
import shutil
import subprocess
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kernels.chamfer import MOST_CAP
from kernels.cuda import build, chamfer, layout, tree
from kernels.reference import chamfer_reference, nearest_reference
from tests.kernels.clouds import CASES, offsets_of, random

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler (g++) here")

HARD = ("lidar", "collinear z", "all equal", "lattice between", "crowded", "sphere", "not finite", "nothing finite")
SMALL = ("0 and 1 points", "1 and 0 points", "1 and 1 points", "31 and 33 points", "33 and 0 points", "1024 points")


def _compiled(folder: Path, shape: layout.Shape) -> ctypes.CDLL:
    for name in build.SOURCES:  # no names without overloads, so that the kernels may be called like functions
        text = (Path(build.__file__).parent.parent / "csrc" / name).read_text()
        (folder / name).write_text(text.replace('extern "C" ', ""))
    here = Path(__file__).parent / "emulator"
    macros = [f"-D{name.upper()}={value}" for name, value in vars(shape).items()]
    # Contraction is off as it is on the GPU; a misaligned access kills the process as it would kill the kernel.
    flags = ["-std=c++14", "-O1", "-w", "-shared", "-fPIC", "-ffp-contract=off"]
    flags += ["-fsanitize=alignment", "-fno-sanitize-recover=alignment", "-static-libubsan"]
    flags += ["-U_FORTIFY_SOURCE"]  # else jumps between stacks are taken for an attack
    out = folder / "emulator.so"
    subprocess.run(["g++", *flags, *macros, f"-I{folder}", f"-I{here}", "-o", out, here / "main.cpp"], check=True)
    library = ctypes.CDLL(str(out))
    library.run.argtypes = [ctypes.c_char_p] + [ctypes.c_int] * 3 + [ctypes.c_char_p] * 2
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return _compiled(tmp_path_factory.mktemp("emulator"), layout.SHAPE)


@pytest.fixture(autouse=True)
def built(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Launches run in the emulator, in memory that is full of other numbers; what each `build` was given."""
    torch.use_deterministic_algorithms(True)  # and with it torch.utils.deterministic.fill_uninitialized_memory
    yield _emulate(library, monkeypatch)
    torch.use_deterministic_algorithms(False)


def _emulate(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    built: list[bytes] = []

    class Launcher:
        resident = 3

        def __init__(self, device: torch.device) -> None: ...

        def zero(self, address: int, size: int) -> None:
            ctypes.memset(address, 0, size)

        def __call__(self, name: str, blocks: int, clouds: int, threads: int, *structs: bytes) -> None:
            if blocks:
                assert library.run(name.encode(), blocks, clouds, threads, structs[0], (*structs, None)[1]) == 0

        def together(self, name: str, items: int, threads: int, struct: bytes) -> None:
            self(name, min(items, 3), 1, threads, struct)
            built.append(struct)

    for module in (tree, chamfer):
        monkeypatch.setattr(module, "Launcher", Launcher)
        monkeypatch.setattr(module, "on_device", lambda device: contextlib.nullcontext())
    return built


@pytest.mark.parametrize("cap", (None, 0.5))
@pytest.mark.parametrize("case", HARD + SMALL)
def test_search_equals_brute_force(case, cap):
    a, b = (cloud[:1300].contiguous() for cloud in CASES[case]())
    offsets = offsets_of(len(a) // 9, len(a) - len(a) // 9), offsets_of(len(b) // 8, len(b) - len(b) // 8)
    rows = offsets[0].tolist(), offsets[1].tolist()
    answers = tree.search_pair(a, b, *rows, cap, both=True).by_cloud()
    expected = nearest_reference(a, b, *offsets, cap), nearest_reference(b, a, *offsets[::-1], cap)
    for which in (0, 1):
        assert torch.equal(answers[which][0], expected[which][0])
        assert torch.equal(answers[which][1], expected[which][1])
    index, distance = tree.BoxSearch(b, rows[1]).nearest(a, rows[0], cap)
    assert torch.equal(index, expected[0][0]) and torch.equal(distance, expected[0][1])


SHAPES = (
    layout.Shape(leaf=2, lanes=1, patience=1, warps=32, resident=1),
    layout.Shape(leaf=32, lanes=32, patience=3, warps=1),
    layout.Shape(leaf=8, lanes=8, patience=200, warps=16),
)


@pytest.mark.parametrize("shape", SHAPES)
def test_other_shapes(shape, tmp_path, monkeypatch):
    _emulate(_compiled(tmp_path, shape), monkeypatch)
    for module in (tree, chamfer):
        monkeypatch.setattr(module, "SHAPE", shape)
    a, b = (cloud[:1300].contiguous() for cloud in CASES["lidar"]())
    offsets = offsets_of(100, len(a) - 100), offsets_of(len(b) - 1, 1)
    answers = tree.search_pair(a, b, offsets[0].tolist(), offsets[1].tolist(), None, both=True).by_cloud()
    for which, expected in enumerate((nearest_reference(a, b, *offsets), nearest_reference(b, a, *offsets[::-1]))):
        assert torch.equal(answers[which][0], expected[0])
        assert torch.equal(answers[which][1], expected[1])


def _cases():
    """Every combination; the emulator takes 4 s for one, so that all but the widest belong to the full tests."""
    combinations = [
        (wanted, ready) for wanted in ((True, True), (True, False), (False, True)) for ready in (False, True)
    ]
    return [
        pytest.param(*both, marks=() if both == ((True, True), True) else (pytest.mark.slow,)) for both in combinations
    ]


@pytest.mark.parametrize("wanted, prepared", _cases())
def test_chamfer_of_many_samples(wanted, prepared):
    sizes = [3, 0, 40, 1] * 17  # more samples than one launch holds
    a, b = random(sum(sizes), 1), random(sum(sizes), 2)
    offsets = offsets_of(*sizes), offsets_of(*sizes[::-1])
    rows = offsets[0].tolist(), offsets[1].tolist()
    search = tree.BoxSearch(b, rows[1]) if prepared else None
    own = [cloud.clone().requires_grad_(want) for cloud, want in zip((a, b), wanted, strict=True)]
    weights = random(len(sizes), 3)[:, 0]
    loss = chamfer.chamfer(*own, *rows, 1.0, search)
    (loss * weights).sum().backward()
    exact = [cloud.double().requires_grad_(want) for cloud, want in zip((a, b), wanted, strict=True)]
    expected = chamfer_reference(*exact, *offsets, 1.0)
    (expected * weights).sum().backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)
    for mine, other, want in zip(own, exact, wanted, strict=True):
        assert (mine.grad is not None) == want
        assert not want or (mine.grad - other.grad).norm() <= 1e-5 * other.grad.norm()


def _small(*wanted):
    """Two clouds of two samples, and their offsets as lists."""
    a, b = random(90, 5).requires_grad_(wanted[0]), random(80, 6).requires_grad_(wanted[1])
    return a, b, [0, 50, 90], [0, 0, 80]


@pytest.mark.parametrize("asked", ((0, 1), (0,), (1,)))
def test_chamfer_backward_for_some_of_those_that_need_a_gradient(asked):
    a, b, *rows = _small(True, True)
    loss = chamfer.chamfer(a, b, *rows, 1.0, None)
    found = torch.autograd.grad(loss.sum(), [(a, b)[i] for i in asked])
    exact = a.detach().double().requires_grad_(), b.detach().double().requires_grad_()
    expected = chamfer_reference(*exact, *(torch.tensor(offsets) for offsets in rows), 1.0)
    for i, own in zip(asked, found, strict=True):
        wanted = torch.autograd.grad(expected.sum(), exact[i], retain_graph=True)[0]
        assert (own - wanted).norm() <= 1e-5 * wanted.norm()


def test_chamfer_does_no_work_for_gradients_that_nobody_records(built):
    with torch.no_grad():
        assert not chamfer.chamfer(*_small(True, True), 1.0, None).requires_grad
    for wanted in ((False, False), (False, True), (True, False)):
        chamfer.chamfer(*_small(*wanted), 1.0, None)
    pulls = [layout.CLOUDS.unpack(struct)[layout.POINTERS - 1 :: layout.POINTERS + 2][:2] for struct in built]
    assert [tuple(address > 0 for address in both) for both in pulls] == [
        *((False, False), (False, False), (False, True), (True, False))
    ]


@pytest.mark.parametrize("prepared", (False, True))
def test_nobody_pulls_where_the_other_cloud_is_empty(prepared):
    a, b = torch.zeros(0, 3).requires_grad_(), random(80, 6).requires_grad_()
    search = tree.BoxSearch(b.detach(), [0, 80]) if prepared else None
    loss = chamfer.chamfer(a, b, [0, 0], [0, 80], 1.0, search)
    gradients = torch.autograd.grad(loss.sum(), (a, b))
    assert loss.tolist() == [0.0] and gradients[0].shape == (0, 3) and not gradients[1].any()


def test_what_found_nothing_has_gradient_zero_under_an_infinite_one():
    """As tests/kernels/test_chamfer.py: a sample in reach, one out of reach, one whose other cloud is empty."""
    a = torch.tensor([[0.0, 0, 0], [9, 0, 0], [1, 1, 1]], requires_grad=True)
    b = torch.tensor([[3.0, 4, 0], [-9, 0, 0]], requires_grad=True)
    chamfer.chamfer(a, b, [0, 1, 2, 3], [0, 1, 2, 2], 6.0, None).sqrt().sum().backward()
    slope = 2 / 50**0.5
    torch.testing.assert_close(a.grad, torch.tensor([[-3 * slope, -4 * slope, 0], [0, 0, 0], [0, 0, 0]]))
    torch.testing.assert_close(b.grad, torch.tensor([[3 * slope, 4 * slope, 0], [0, 0, 0]]))


def test_chamfer_gradients_of_a_cap_whose_square_underflows():
    a, b = torch.tensor([[1e-24, 0.0, 0.0]], requires_grad=True), torch.zeros(1, 3)
    chamfer.chamfer(a, b, [0, 1], [0, 1], 1e-32, None).sum().backward()
    torch.testing.assert_close(a.grad, torch.tensor([[4e-24, 0.0, 0.0]]), rtol=1e-5, atol=0)


def test_chamfer_keeps_no_tree_for_the_backward(monkeypatch):
    trees = []

    def allocate(*given):
        found = tree.allocate(*given)
        trees.extend(weakref.ref(one.memory[1]) for one in found[0])
        return found

    monkeypatch.setattr(chamfer, "allocate", allocate)
    a, b, *rows = _small(True, True)
    loss = chamfer.chamfer(a, b, *rows, 1.0, None)
    assert len(trees) == 2 and not any(memory() is not None for memory in trees)
    kept = sum(tensor.nbytes for tensor in loss.grad_fn.saved_tensors)
    assert kept == (90 + 80) * (3 * 4 + 8 + 3 * 8) + 2 * 2 * 4  # clouds, indices, pulls, counts
    loss.sum().backward()
    with pytest.raises(RuntimeError, match="already been freed"):
        _ = loss.grad_fn.saved_tensors


def test_chamfer_gradients_at_the_greatest_cap():
    """The resolution of the sums of pulls falls with the cap."""
    a, b = (cloud[:1300].contiguous() for cloud in CASES["lidar"]())
    own, exact = a.clone().requires_grad_(), a.double().requires_grad_()
    chamfer.chamfer(own, b, [0, len(a)], [0, len(b)], MOST_CAP, None).sum().backward()
    chamfer_reference(exact, b.double(), offsets_of(len(a)), offsets_of(len(b)), MOST_CAP).sum().backward()
    torch.testing.assert_close(own.grad.double(), exact.grad, rtol=1e-6, atol=1e-9)
    # 2^20 gaps of 100 km fit, and one of them still counts to 30 nm.
    assert chamfer.pull_bits(2**20, MOST_CAP) == 25
