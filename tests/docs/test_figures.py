# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Figures that the README repeats are those of the committed metrics."""

import json
import subprocess
from typing import Any

import pytest

from stages.pipeline.code import ROOT

BUCKETS = ("car", "other_vehicles", "pedestrian", "wheeled_vru")


def committed(path: str) -> str:
    """A file as it was committed: a run of one's own may have changed the metrics since."""
    shown = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip("this is no git repository")
    return shown.stdout


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|\n ").split("|")]


def rows(path: str, after: str) -> dict[str, list[str]]:
    """The table whose heading starts so, by the first cell of a row."""
    lines = committed(path).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(after))
    table = lines[start + 2 :]
    end = next(number for number, line in enumerate([*table, ""]) if not line.startswith("|"))
    return {cells(row)[0]: cells(row)[1:] for row in table[:end]}


def figures(scores: dict[str, Any]) -> list[str]:
    dynamic, static = scores["bucketed"]["dynamic"], scores["bucketed"]["static"]
    numbers = [dynamic["mean"], *(dynamic[name] for name in BUCKETS), static["mean"], scores["threeway"]["mean"]]
    return [f"{number:.3f}" for number in numbers]


@pytest.mark.parametrize(
    ("row", "model"), [("SeFlow, no labels", "model"), ("nearest neighbour", "nearest"), ("ego motion", "ego_motion")]
)
def test_the_table_of_the_default(row: str, model: str) -> None:
    metrics = json.loads(committed("metrics/val.json"))
    assert rows("README.md", "| simulated val split")[row] == figures(metrics[model])


@pytest.mark.parametrize(
    ("row", "method"),
    [
        ("SeFlow, no labels", "SeFlow"),
        ("DeFlow, from boxes", "DeFlow"),
        ("FastFlow3D, from boxes", "FastFlow3D"),
        ("nearest neighbour", "nearest neighbour"),
        ("ego motion", "ego motion"),
    ],
)
def test_the_table_beside_other_methods(row: str, method: str) -> None:
    _, dynamic, static, *classes, threeway, _ = (
        cell.split(" ")[0] for cell in rows("metrics/compare.md", "| method")[method]
    )
    assert rows("README.md", "| simulated val split")[row] == [dynamic, *classes, static, threeway]
