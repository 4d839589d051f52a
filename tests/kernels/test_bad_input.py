# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import copy
import pickle

import numpy as np
import pytest
import torch

from kernels import Search, nearest, nearest_both, truncated_chamfer
from tests.kernels.clouds import offsets_of, random

CLOUD = random(10, 1)
WHOLE = offsets_of(10)


@pytest.mark.parametrize(
    ("query", "error", "text"),
    [
        (CLOUD.numpy(), TypeError, "query must be a torch.Tensor"),
        (CLOUD[:, :2].contiguous(), ValueError, r"query must have shape \(N, 3\), got \(10, 2\)"),
        (CLOUD[None], ValueError, r"got \(1, 10, 3\)"),
        (CLOUD.half(), TypeError, "got torch.float16"),
        (CLOUD.long(), TypeError, "got torch.int64"),
        (CLOUD.double(), TypeError, "one dtype, got torch.float64 and torch.float32"),
        (CLOUD.T.contiguous().T, ValueError, "must be contiguous"),
        (CLOUD.to("meta"), ValueError, "got meta"),
        (CLOUD.to_sparse(), ValueError, "must be a plain dense tensor, got layout torch.sparse_coo"),
    ],
)
def test_cloud(query, error, text):
    with pytest.raises(error, match=text):
        nearest(query, CLOUD, WHOLE, WHOLE)


@pytest.mark.parametrize(
    ("offsets", "error", "text"),
    [
        ([0, 10], TypeError, "a_offsets must be an int64 torch.Tensor"),
        (WHOLE.int(), TypeError, "a_offsets must be torch.int64, got torch.int32"),
        (WHOLE.to("meta"), ValueError, "must be on the CPU"),
        (WHOLE[None], ValueError, r"must have shape \(B\+1,\), got \(1, 2\)"),
        (torch.zeros(0, dtype=torch.int64), ValueError, r"got \(0,\)"),
        (offsets_of(9), ValueError, "from 0 to the 10 points given, got 0 to 9"),
        (torch.tensor([1, 10]), ValueError, "got 1 to 10"),
        (torch.tensor([0, 7, 6, 10]), ValueError, "must never fall, got 7 then 6 at sample 1"),
        (offsets_of(4, 6), ValueError, "same number of samples, got 2 and 1"),
    ],
)
def test_offsets(offsets, error, text):
    with pytest.raises(error, match=text):
        nearest_both(CLOUD, CLOUD, offsets, WHOLE)


@pytest.mark.parametrize(
    ("cap", "error"),
    [
        (-1.0, ValueError),
        (float("nan"), ValueError),
        (10**400, ValueError),
        (np.float32(-1), ValueError),
        ("2", TypeError),
        (True, TypeError),
    ],
)
def test_cap(cap, error):
    with pytest.raises(error, match="cap must be a distance in metres"):
        nearest(CLOUD, CLOUD, WHOLE, WHOLE, cap)
    with pytest.raises(error, match="cap must be a distance in metres"):
        Search(CLOUD, WHOLE).nearest(CLOUD, WHOLE, cap)
    with pytest.raises(error, match="cap must be a distance in metres"):
        truncated_chamfer(CLOUD, CLOUD, WHOLE, WHOLE, cap)


@pytest.mark.parametrize("cap", (np.float32(2), np.float64(2), np.int64(2), 2))
def test_numbers_of_numpy_are_caps(cap):
    assert nearest(CLOUD, CLOUD, WHOLE, WHOLE, cap).index.tolist() == list(range(10))


@pytest.mark.parametrize("cap", (None, float("inf"), 1e20, 100001.0))
def test_chamfer_needs_a_finite_cap(cap):
    with pytest.raises(ValueError, match="cap must be a finite distance in metres of at most 100000, got"):
        truncated_chamfer(CLOUD, CLOUD, WHOLE, WHOLE, cap)


def test_search_of_another_cloud():
    with pytest.raises(ValueError, match="search_b was made from another tensor"):
        truncated_chamfer(CLOUD, CLOUD, WHOLE, WHOLE, 2.0, Search(CLOUD.clone(), WHOLE))
    with pytest.raises(TypeError, match=r"search_b must be a kernels\.Search or None, got Tensor"):
        truncated_chamfer(CLOUD, CLOUD, WHOLE, WHOLE, 2.0, CLOUD)
    empty = torch.zeros(0, 3)  # all have the same address
    with pytest.raises(ValueError, match="search_b was made from another tensor"):
        truncated_chamfer(
            empty.double(), empty.double(), offsets_of(0), offsets_of(0), 2.0, Search(empty, offsets_of(0))
        )


def test_a_search_is_neither_copied_nor_sent():
    search = Search(CLOUD, WHOLE)
    for sent in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a Search cannot be copied or pickled: make another from the target"):
            sent(search)


def test_chamfer_with_a_search_of_a_changed_cloud():
    cloud = CLOUD.clone()
    search = Search(cloud, WHOLE)
    cloud += 1
    with pytest.raises(ValueError, match="the target was changed in place after this search was made"):
        truncated_chamfer(CLOUD, cloud, WHOLE, WHOLE, 2.0, search)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
def test_on_the_gpu():
    on_gpu = CLOUD.cuda()
    with pytest.raises(TypeError, match="query on cuda:0 must be torch.float32, got torch.float64"):
        nearest(on_gpu.double(), on_gpu, WHOLE, WHOLE)
    with pytest.raises(ValueError, match="must be on one device, got cuda:0 and cpu"):
        nearest(on_gpu, CLOUD, WHOLE, WHOLE)
    with pytest.raises(ValueError, match="offsets must be on the CPU"):
        nearest(on_gpu, on_gpu, WHOLE.cuda(), WHOLE)
