# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Our scores of written archives beside those of the official packages, on real and on simulated logs."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.data.logfile import LogColumns, LogFrames
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.classes import META_CLASSES
from stages.evaluation.evaluate import EvaluateParameters
from stages.evaluation.folder import FolderTask, score_folder
from stages.evaluation.labels import LogLabels
from stages.evaluation.submission import LogPredictions, SubmitParameters, submit_log, v2_columns, write_feather
from stages.evaluation.v2 import v2_bins
from tests.evaluation.official import FLOW, PANDASET_LOG, V2Labels, quiet, real_log, v2_results, write_v2_labels
from tests.evaluation.raw import halve_precision, predict, prepare, simulate
from tests.evaluation.test_golden_synthetic import META, same

SPLIT = "val"


@pytest.fixture(scope="module", params=["pandaset", "simulated", "one_simulated"])
def split(request: Any, tmp_path_factory: Any) -> tuple[Path, Path, list[str]]:
    """Folder of raw logs, data folder and log ids; truth rounded to float16, predictions with errors."""
    root = tmp_path_factory.mktemp(request.param)
    if request.param == "pandaset":
        raw = real_log(PANDASET_LOG) / "sensor" / SPLIT
    else:
        raw = root / "sensor" / SPLIT
        names = simulate(raw)
        if request.param == "one_simulated":
            shutil.rmtree(raw / names[1])
    data = root / "data"
    logs = prepare(raw, data, SPLIT)
    for seed, log in enumerate(logs):
        halve_precision(data, SPLIT, log)
        predict(data, SPLIT, log, seed)
    if request.param == "one_simulated":
        _require_hard_cases(data, logs[0])
    return raw, data, logs


def _require_hard_cases(data: Path, log: str) -> None:
    """Absent classes, a class that never moves, empty buckets and invalid points are all there to be compared."""
    labels = labels_of(data, log)
    count = sum(v2_bins(labels.frame(t)).fixed["v2_count"][..., 0] for t in labels.has_flow().tolist())
    filled = (count > 0).sum(axis=1)
    assert filled[META_CLASSES.index("other_vehicles")] == 0
    assert filled[META_CLASSES.index("wheeled_vru")] == 1 and count[META_CLASSES.index("wheeled_vru"), 0] > 0
    assert 1 < filled[META_CLASSES.index("pedestrian")] < 50
    paired = np.concatenate([np.arange(labels.frames.num_points)[labels.frames.span(t)] for t in labels.has_flow()])
    assert not labels.truth.column("valid")[paired].all()


@pytest.fixture
def ours(split: tuple[Path, Path, list[str]], tmp_path: Path, monkeypatch: Any) -> Any:
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))

    def score(predictions: Path, frames: Any) -> dict[str, Any]:
        parameters = EvaluateParameters(frames, None, "refuse", BootstrapParameters(10, 0, 0.9))
        return score_folder(FolderTask(predictions, split[1], SPLIT, None, None), parameters)

    return score


def labels_of(data: Path, log: str) -> LogLabels:
    files = {kind: data / kind / SPLIT / f"{log}.h5" for kind in ("frames", "truth", "ground")}
    return LogLabels.open(log, files)


def test_v1_archive(split: tuple[Path, Path, list[str]], ours: Any, tmp_path: Path) -> None:
    from av2.evaluation.scene_flow.eval import evaluate_directories, results_to_dict

    _, data, logs = split
    pairs = 0
    for log in logs:
        labels = labels_of(data, log)
        files = {kind: data / kind / SPLIT / f"{log}.h5" for kind in ("frames", "ground", "predictions")}
        outputs = {kind: tmp_path / kind / log for kind in ("v1", "masks", "v2", "v3")}
        submit_log(log, files, outputs, SubmitParameters(("v1",), False, None), {"phase": -pairs % 5})
        pairs += labels.frames.num_frames - 1
        for file in outputs["v1"].iterdir():
            t = labels.frames.timestamp_ns.tolist().index(int(file.stem))
            annotate_v1(labels, t, tmp_path / "annotations" / log / file.name)
    with quiet():
        official = results_to_dict(evaluate_directories(tmp_path / "annotations", tmp_path / "v1"))
    result = ours(tmp_path / "v1", "official")["model"]["v1"]
    same(result, {key: None if math.isnan(value) else value for key, value in official.items()}, 1e-6)


def annotate_v1(labels: LogLabels, t: int, path: Path) -> None:
    """An annotation file as av2 writes it, from the truth of our files."""
    truth, mask = labels.frame(t), labels.v1_mask(t)
    columns: dict[str, Any] = {
        "category_indices": truth.category[mask],
        "is_close": (np.abs(truth.points[mask, :2]) <= 35.0).all(axis=1),
        "is_dynamic": truth.dynamic[mask],
        "is_valid": np.asarray(labels.truth.column("valid")[labels.frames.span(t)])[mask],
    }
    columns.update({name: truth.flow[mask, i].astype(np.float16) for i, name in enumerate(FLOW)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_feather(path)


@pytest.mark.parametrize(("kind", "key"), [("bucketed_epe", "bucketed"), ("threeway_epe", "threeway_v2")])
def test_v2_archive(split: tuple[Path, Path, list[str]], ours: Any, tmp_path: Path, kind: str, key: str) -> None:
    raw, data, logs = split
    for log in logs:
        labels = labels_of(data, log)
        predictions = LogColumns.open(data / "predictions" / SPLIT / f"{log}.h5", "predictions/1")
        source = LogPredictions(labels.frames, labels.ground, predictions, None)
        for t in range(labels.frames.num_frames - 1):
            write_feather(tmp_path / "v2" / log / f"{t:010d}.feather", v2_columns(source, t))
            name = str(int(labels.frames.timestamp_ns[t]))
            write_v2_labels(tmp_path / "labels" / log, name, residual_labels(labels.frames, labels, t))
    official = v2_results(raw, tmp_path / "labels", tmp_path / "v2", tmp_path, kind)
    metrics = ours(tmp_path / "v2", "all")["model"]
    for region, suffix in (("35", ""), ("inf", "_all")):
        for part, motion in enumerate(("static", "dynamic")):
            expected = {ours_: official[region].get(name, (math.nan,) * 2)[part] for ours_, name in META.items()}
            expected = {name: None if math.isnan(value) else float(value) for name, value in expected.items()}
            found = {name: value for name, value in metrics[key + suffix][motion].items() if name != "mean"}
            same(found, expected, 1e-6)


def residual_labels(frames: LogFrames, labels: LogLabels, t: int) -> V2Labels:
    """The truth of our files as v2's label files hold it: residual flow in the axes of ego frame 0, float32."""
    truth, E = labels.frame(t), frames.ego1_SE3_ego0(t)
    return V2Labels(
        points=truth.points,
        residual=(truth.residual @ E[:3, :3]).astype(np.float32),
        valid=np.asarray(labels.truth.column("valid")[frames.span(t)]),
        category=np.asarray(truth.category),
        ego1_SE3_ego0=E,
    )
