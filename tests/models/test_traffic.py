# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The command that tries trainings on real logs: which runs it makes, how they end, and its table."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import InputError
from tests.models.traffic import Results, read_runs
from tests.models.traffic_run import PROJECT, Place, Run, execute
from tests.models.traffic_table import table

BASE = PROJECT / "params.yaml"
SMALL = {"train.model.range": [-16.0, -16.0, -1.0, 16.0, 16.0, 4.0], "train.model.voxel": 1.0, "train.held_out": 0.0}


def config(tmp_path: Path, **entries: Any) -> Path:
    file = tmp_path / "runs.yaml"
    content = {"base": str(BASE), "seeds": [1, 2], "steps": 9, "common": {"train.batch": 4}, **entries}
    file.write_text(yaml.safe_dump(content))
    return file


def test_first_seeds_come_first_and_own_changes_win(tmp_path: Path) -> None:
    runs = [{"name": "a"}, {"name": "b", "seeds": [5], "steps": 3, "changes": {"train.batch": 2}}]
    found = read_runs(config(tmp_path, runs=runs))
    assert [(run.name, run.seed, run.steps, run.changes["train.batch"]) for run in found] == [
        ("a", 1, 9, 4),
        ("b", 5, 3, 2),
        ("a", 2, 9, 4),
    ]
    assert [run.name for run in read_runs(config(tmp_path, runs=runs), ["b"])] == ["b"]


def test_what_no_run_can_mean_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match="unknown key 'change'"):
        read_runs(config(tmp_path, runs=[{"name": "a", "change": {}}]))
    with pytest.raises(InputError, match="no run 'c'"):
        read_runs(config(tmp_path, runs=[{"name": "a"}]), ["c"])
    with pytest.raises(InputError, match="train.bach, which"):
        Run("a", 1, BASE, {"train.bach": 2}).parameters(data)
    with pytest.raises(InputError, match="train.batch"):
        Run("a", 1, BASE, {"train.batch": 0}).parameters(data)


def test_steps_become_epochs(data: Path) -> None:
    """Two logs of four sweeps are six pairs: two steps of 4 an epoch, of which 9 steps are 4.5 and round to 4."""
    train = Run("a", 3, BASE, {**SMALL, "train.batch": 4}, steps=9).parameters(data)["train"]
    assert (train["epochs"], train["seed"], train["batch"]) == (4, 3, 4)


def test_a_run_that_fails_or_takes_too_long_says_so(tmp_path: Path, data: Path) -> None:
    far = {**SMALL, "train.model.range": [400.0, 400.0, -1.0, 432.0, 432.0, 4.0]}
    place = Place(data, tmp_path / "work", 5.0, None, 1, 1)
    row = execute(Run("far", 1, BASE, far, steps=3), place)
    assert row["failed"].startswith("train ended with 1: ") and "no point of the training pairs lies" in row["failed"]
    late = execute(Run("late", 1, BASE, SMALL, steps=3), Place(data, tmp_path / "work", 0.0, None, 1, 1))
    assert late["failed"].startswith("train was stopped after 0 s")
    assert "model" not in late


def row(run: str, seed: int, mean: float, car: float) -> dict[str, Any]:
    model = {"threeway": {"mean": mean, "fd": 0.3, "fs": 0.0, "bs": 0.0}, "dynamic": {"car": car, "mean": car}}
    return {"run": run, "seed": seed, "steps": 8, "seconds": 60.0, "protocol": "p", "model": model}


def test_table_by_hand(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    baseline = row("", 0, 0.2, 1.0)["model"]
    scored = {"protocol": {"frames_v2": 7}, "points": {"car": 12}, "nearest": baseline, "ego_motion": baseline}
    for found in (row("slow", 1, 0.3, 0.9), row("good", 1, 0.1, 0.5), row("good", 2, 0.2, 0.7)):
        results.add({**found, "scored": scored})
    results.add({"run": "bad", "seed": 1, "failed": "train ended with 1"})
    lines = table(json.loads((tmp_path / "results.json").read_text())).splitlines()
    assert lines[2] == "| good | 2 | 8 | 60 | 0.150 ± 0.050 | 0.300 ± 0.000 | 0.000 ± 0.000 | 0.000 ± 0.000 | " + (
        "0.600 ± 0.100 | - | 0.600 ± 0.100 |"
    )
    assert lines[3].startswith("| slow | 1 | 8 | 60 | 0.300 |") and lines[4].startswith("| nearest neighbour |")
    assert lines[-1] == "bad 1: train ended with 1" and "Points of the 7 pairs: car 12" in lines[-3]


def test_command_checks_every_run_before_the_first_starts(tmp_path: Path, data: Path) -> None:
    runs = config(tmp_path, runs=[{"name": "a"}, {"name": "b", "changes": {"train.labels": "truth"}}])
    command = [sys.executable, "-m", "tests.models.traffic", str(runs), "--data", str(data), "--gpus", "0"]
    done = subprocess.run(
        [*command, "--work", str(tmp_path / "work"), "--results", str(tmp_path / "r.json")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "loss seflow needs labels clusters" in done.stderr
    assert not (tmp_path / "work").exists() and not (tmp_path / "r.json").exists()
