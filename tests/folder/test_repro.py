# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A plain folder through the whole DAG: catalog, labels, training, prediction, evaluation."""

import json
from pathlib import Path

import pytest

from tests.evaluation.raw import simulate
from tests.folder.logs import save_av2_log
from tests.pipeline.project import SMALL, make_project


def test_plain_folders_by_one_parameter(tmp_path: Path) -> None:
    """One log of two sweeps a split, without a map; no test split. The root is the machine's, and stands nowhere."""
    log = simulate(tmp_path / "raw", sweeps=1)[1]
    for split in ("train", "val"):
        save_av2_log(tmp_path / "raw" / log, tmp_path / "root" / split / log)
    project = make_project(tmp_path / "project", {**SMALL, "data.source": "folder", "train.epochs": 1})
    missing = project.repro("catalog@train", check=False)
    assert missing.returncode != 0
    assert "set SCENEFLOW_DATA_ROOT" in missing.text
    run = project.repro("evaluate", SCENEFLOW_DATA_ROOT=str(tmp_path / "root"))
    assert {"catalog@val", "ingest@val", "cluster", "train", "predict@val", "evaluate"} <= run.ran
    metrics = json.loads((project.folder / "metrics/val.json").read_text())
    assert metrics["ego_motion"]["bucketed"]["dynamic"]["mean"] == pytest.approx(1.0, abs=1e-9)
    assert metrics["model"]["bucketed"]["dynamic"]["mean"] > 0
    assert metrics["protocol"]["ground"] != "map"  # Patchwork++ stands in for the map
    text = (project.folder / "data/catalog/val.json").read_text() + (project.folder / "dvc.lock").read_text()
    assert json.loads((project.folder / "data/catalog/val.json").read_text())["source"] == "folder"
    assert str(tmp_path) not in text
