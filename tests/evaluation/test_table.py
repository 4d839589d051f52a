# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The printed table: every number that the mean Dynamic is the mean of has its row."""

from typing import Any

import numpy as np
import pytest

from stages.evaluation.table import headline_table
from tests.evaluation.test_metrics import score, truth_of


def rows(table: str, head: str) -> dict[str, list[str]]:
    """Cells by label, below a heading."""
    lines = table.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(head)) + 1
    below = lines[start:]
    end = next(i for i, line in enumerate(below) if not line.startswith("  "))
    return {line[:26].strip(): line[26:].split() for line in below[:end]}


def moving(category: list[int]) -> dict[str, Any]:
    """Two points that move 1 m, off by 0.5 and 0.25 m: errors of 0.5 and 0.25."""
    truth = truth_of(points=[[1, 2, 0], [3, 4, 1]], flow=[[1.0, 0, 0], [1.0, 0, 0]], category=category)
    return score(truth, [[0.5, 0, 0], [0.75, 0, 0]])


def test_background_that_moves_has_a_row() -> None:
    """As a scene of OpenSceneFlow may have it, whose truth is not of boxes alone."""
    report = {"model": moving([0, 19]), "ego_motion": {}}
    dynamic = rows(headline_table(report, ("model", "ego_motion")), "Dynamic")
    assert dynamic["background"] == ["0.5000", "-"]
    assert dynamic["car"] == ["0.2500", "-"]
    assert dynamic["mean"] == ["0.3750", "-"]
    shown = [float(cells[0]) for label, cells in dynamic.items() if label != "mean" and cells[0] != "-"]
    assert float(dynamic["mean"][0]) == pytest.approx(np.mean(shown))


def test_without_such_points_the_table_has_no_row_for_them() -> None:
    dynamic = rows(headline_table({"model": moving([19, 19])}, ("model",)), "Dynamic")
    assert list(dynamic) == ["mean", "car", "other vehicles", "pedestrian", "wheeled VRU"]
