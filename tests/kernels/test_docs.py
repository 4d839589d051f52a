# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The example of docs/nearest-neighbour.md."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch


def test_the_example_runs_and_says_what_its_comments_say() -> None:
    page = (Path(__file__).parents[2] / "docs/nearest-neighbour.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    found: dict[str, Any] = {}
    exec(code, found)
    a, b, there = found["a"].detach(), found["b"], found["there"]
    row = int(there.index[-1])  # of the second sample
    assert 50_000 <= row < 88_000
    assert float(there.squared_distance[-1]) == pytest.approx(float((a[-1] - b[row]).square().sum()), rel=1e-6)
    assert found["loss"].shape == (2,)
    assert a.shape == found["a"].grad.shape and torch.isfinite(found["a"].grad).all()
