# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
import torch

from kernels.reference import nearest_reference
from tests.kernels import benchmark, rivals, sanitize, scenes, timing
from tests.kernels.clouds import offsets_of, random


def absent(a, b):
    import there_is_no_such_rival  # noqa: F401


def brute(a, b):
    """Not ours: a rival that runs on the CPU."""
    return lambda: tuple(torch.cdist(x, y).amin(1) ** 2 for x, y in ((a, b), (b, a)))


def test_a_rival_that_does_not_run_says_why_in_its_row(monkeypatch):
    a, b = random(30, 1), random(40, 2)
    monkeypatch.setattr(benchmark, "RIVALS", {"absent": absent, "brute": brute})
    monkeypatch.setattr(benchmark, "on_gpu", lambda call, repeats, warm: timing.on_cpu(call, repeats))
    monkeypatch.setattr(benchmark, "scene", lambda a, b: scenes.Scene(a, b, offsets_of(30), offsets_of(40), None))
    missing, found = benchmark.rival_rows("no device", a, b)
    reason = "ModuleNotFoundError: No module named 'there_is_no_such_rival'"
    assert missing["case"] == "rival_absent" and missing["failed"] == reason
    assert missing["value"] is None and missing["spread"] is None
    assert timing.shown(missing).endswith(f" failed: {reason}")
    assert found["same_distance"] == 1.0 and "failed" not in found
    json.dumps([missing, found], allow_nan=False)


def test_a_reason_is_one_line():
    assert timing.failed("case", "ms", "device", RuntimeError("\none\ntwo"))["failed"] == "RuntimeError: one"
    assert timing.failed("case", "ms", "device", ValueError())["failed"] == "ValueError: "


def test_what_the_sanitizer_runs_runs():
    sanitize.main("cpu")


def test_arguments_of_the_brute_force():
    query, target = random(3, 1), random(5, 2)
    distance, index = torch.empty(3), torch.empty(3, dtype=torch.int64)
    given = rivals.brute_arguments(query, target, distance, index)
    assert [len(value) for value in given] == [8, 8, 4, 4, 8, 8]
    numbers = [int(np.frombuffer(value, dtype=f"<i{len(value)}")[0]) for value in given]
    assert numbers == [query.data_ptr(), target.data_ptr(), 3, 5, distance.data_ptr(), index.data_ptr()]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
def test_brute_force_of_our_own():
    a, b = random(700, 1), random(900, 2)
    for found, (query, target) in zip(rivals.brute_force(a.cuda(), b.cuda())(), ((a, b), (b, a)), strict=True):
        expected = nearest_reference(query, target, offsets_of(len(query)), offsets_of(len(target)))[1]
        assert torch.equal(found.cpu(), expected)
