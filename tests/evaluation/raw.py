# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Raw logs, real or simulated, brought through ingest, ground and truth for the tests of the evaluation."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.data.logfile import LogColumns, LogFrames
from stages.frames.ingest import IngestParameters, ingest_log
from stages.frames.write import write_columns
from stages.labels.ground import GroundParameters, ground_log
from stages.labels.truth import TruthParameters, truth_log
from stages.pipeline.parameters import read_parameters
from stages.simulator.log import simulate_log
from stages.simulator.parameters import SimulateParameters
from stages.sources.catalog import write_catalog
from tests.pipeline.raw_logs import av2_entry, av2_ingest

PARAMS = Path(__file__).parents[2] / "params.yaml"


def prepare(raw: Path, data: Path, split: str) -> list[str]:
    """Run catalog, ingest, ground and truth over the logs in a folder; returns their ids."""
    logs = sorted(path for path in raw.iterdir() if path.is_dir())
    entries = {log.name: av2_entry(log, "full") for log in logs}
    write_catalog(data / "catalog" / f"{split}.json", "av2", "full", split, entries)
    for log in logs:
        files = {kind: data / kind / split / f"{log.name}.h5" for kind in ("frames", "maps", "ground", "truth")}
        files["boxes"] = data / "boxes" / split / f"{log.name}.parquet"
        for file in files.values():
            file.parent.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {"entry": json.dumps(entries[log.name]), "digest": "full"}
        ingest = read_parameters("ingest", IngestParameters, PARAMS)
        ingest_log(log.name, {"raw": log}, files, av2_ingest(ingest.pair_gap_s), arguments)
        paths = {kind: path if path.exists() else None for kind, path in files.items()}
        inputs = {**paths, "map": paths["maps"]}
        ground_log(log.name, inputs, files, read_parameters("ground", GroundParameters, PARAMS))
        truth_log(log.name, inputs, files, TruthParameters(recipe="official"))
    return [log.name for log in logs]


def simulate(raw: Path, split: str = "val", sweeps: int = 6) -> list[str]:
    """Two small simulated logs: one without vehicles other than cars and without riders, one with all."""
    scene = read_parameters("simulate", SimulateParameters, PARAMS).scene
    small = replace(scene.lidar, azimuth_steps=300)
    crowd = replace(scene.traffic, vanish_share=0.3)
    bare = replace(crowd, trucks=0, cyclists=0)
    names = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"]
    for index, (name, traffic) in enumerate(zip(names, (bare, crowd), strict=True)):
        raw.mkdir(parents=True, exist_ok=True)
        arguments: dict[str, Any] = {"seed": 7, "split": split, "index": index, "sweeps": sweeps + index}
        simulate_log(name, {}, {"raw": raw / name}, replace(scene, lidar=small, traffic=traffic), arguments)
    return names


def rewrite(path: Path, **columns: Any) -> None:
    """Replace columns of a label file."""
    file = LogColumns.open(path, f"{path.parents[1].name}/1")
    old = {name: np.array(file.column(name)) for name in file.names}
    attributes = {key: value for key, value in file.attributes.items() if key != "schema"}
    write_columns(path, str(file.attributes["schema"]), {**old, **columns}, attributes)


def halve_precision(data: Path, split: str, log: str) -> None:
    """Round the truth to float16, as v1's annotation files hold it."""
    path = data / "truth" / split / f"{log}.h5"
    flow = np.array(LogColumns.open(path, "truth/1").column("flow"))
    rewrite(path, flow=flow.astype(np.float16).astype(np.float32))


def predict(data: Path, split: str, log: str, seed: int) -> None:
    """Predictions that are the truth with errors, some of them large."""
    frames = LogFrames.open(data / "frames" / split / f"{log}.h5")
    truth = LogColumns.open(data / "truth" / split / f"{log}.h5", "truth/1", frames)
    rng = np.random.default_rng(seed)
    residual = np.zeros((frames.num_points, 3))
    for t in frames.pairs():
        rows, points = frames.span(t), frames.xyz(t).astype(np.float64)
        E = frames.ego1_SE3_ego0(t)
        rigid = points @ E[:3, :3].T + E[:3, 3] - points
        residual[rows] = 0.8 * (truth.column("flow")[rows] - rigid)
    residual += rng.normal(0, 0.05, residual.shape) * (rng.random(len(residual)) < 0.5)[:, None]
    columns = {
        "residual": residual.astype(np.float32),
        "covered": np.ones(frames.num_points, dtype=bool),
        "has_flow": frames.pair_next,
    }
    attributes = {"log_id": log, "frames_digest": frames.digest, "weights_digest": "ab" * 32, "device": "cpu"}
    write_columns(data / "predictions" / split / f"{log}.h5", "predictions/1", columns, attributes)


@contextmanager
def one_worker(monkeypatch: Any, store: Path) -> Iterator[None]:
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    monkeypatch.setenv("SCENEFLOW_STORE", str(store))
    yield
