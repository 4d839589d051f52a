# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What label statistics say of themselves, and that the gate compares them only where that is the same."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.frames.write import write_columns
from stages.gating.judge import judge
from stages.gating.rules import Rule, Rules
from stages.labels.protocol import label_protocol
from stages.labels.quality import QualityParameters
from stages.pipeline.digest import file_digest

PARAMETERS = QualityParameters(moving_speed=0.5, purity=0.9)
RULES = Rules("by hand", (Rule("metrics/labels.json", "recall", "higher", 0.005, 0.0),), ())


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    (tmp_path / "train.json").write_text("{}")
    return tmp_path / "train.json"


def log(folder: Path, name: str, rule: str = "map_v1", far: float = 50.0, ground: int = 0) -> dict[str, Path]:
    """Files of a log of four points, with truth."""
    (folder / name).mkdir()
    paths = {kind: folder / name / f"{kind}.h5" for kind in ("ground", "dynamic", "truth")}
    mask = np.arange(4) < ground
    write_columns(paths["ground"], "ground/1", {"ground": mask}, {"log_id": name, "rule": rule})
    write_columns(paths["dynamic"], "dynamic/1", {"dynamic": mask}, {"min_range": 2.0, "max_range": far})
    write_columns(paths["truth"], "truth/1", {"valid": mask}, {"recipe": "official"})
    return paths


def test_by_hand(tmp_path: Path, catalog: Path) -> None:
    without = log(tmp_path, "b")
    without["truth"].unlink()
    assert label_protocol(catalog, [log(tmp_path, "a"), without], PARAMETERS) == {
        "metric_version": 1,
        "catalog": file_digest(catalog),
        "logs_with_truth": 1,
        "truth": "official",
        "ground": "map_v1",
        "range_m": "2.0 to 50.0",
        "moving_speed": 0.5,
        "purity": 0.9,
    }
    assert label_protocol(catalog, [], PARAMETERS)["truth"] == "none"


def test_what_scores_other_points_differs(tmp_path: Path, catalog: Path) -> None:
    first = label_protocol(catalog, [log(tmp_path, "a")], PARAMETERS)
    assert label_protocol(catalog, [log(tmp_path, "b")], PARAMETERS) == first
    assert label_protocol(catalog, [log(tmp_path, "c", far=60.0)], PARAMETERS) != first
    assert label_protocol(catalog, [log(tmp_path, "d", rule="map_v2")], PARAMETERS) != first
    (tmp_path / "x").mkdir()
    patchwork = label_protocol(catalog, [log(tmp_path, "e", rule="patchwork")], PARAMETERS)
    moved = label_protocol(catalog, [log(tmp_path / "x", "e", rule="patchwork", ground=1)], PARAMETERS)
    assert patchwork["ground"].startswith("patchwork (masks ")
    assert patchwork != moved
    assert label_protocol(catalog, [log(tmp_path, "f")], dataclasses.replace(PARAMETERS, purity=0.8)) != first
    catalog.write_text("{ }")
    assert label_protocol(catalog, [log(tmp_path, "g")], PARAMETERS) != first


def test_the_gate_compares_labels_of_the_same_data_alone(tmp_path: Path, catalog: Path) -> None:
    """Twice as many moving points found on other logs is no better recall."""

    def text(protocol: dict[str, Any], recall: float) -> str:
        return json.dumps({"protocol": protocol, "recall": recall})

    protocol = label_protocol(catalog, [log(tmp_path, "a")], PARAMETERS)
    base = text(protocol, 0.5)
    assert [line.verdict for line in judge(RULES, "metrics/labels.json", base, text(protocol, 0.6))] == ["better"]
    catalog.write_text("other logs")
    other = label_protocol(catalog, [log(tmp_path, "b")], PARAMETERS)
    lines = judge(RULES, "metrics/labels.json", base, text(other, 0.9))
    assert lines[0].verdict == "failed"
    assert "protocol.catalog" in lines[0].remark
    assert [line.verdict for line in lines[1:]] == ["base reset"]
