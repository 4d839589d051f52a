# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Small made-up splits with everything that the report reads, and its knobs made small."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.data.logfile import LogFrames
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.evaluate import EvaluateParameters, score_pipeline
from stages.frames.write import write_columns
from stages.rendering.parameters import AnimationParameters, RenderParameters
from stages.rendering.report import write_report
from tests.evaluation.data import log_arrays, write_split
from tests.labels.logs import box_row, write_boxes

KNOBS = RenderParameters(2, 2, 10, 40.0, 128, 5.0, 0.5, AnimationParameters(3, 96, 5.0))
SCORED = EvaluateParameters("all", None, "refuse", BootstrapParameters(20, 0, 0.95))


def enter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a store of its own, one log at a time."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    monkeypatch.setenv("SCENEFLOW_STORE", str(root / ".scratch"))


def whole_split(
    root: Path, monkeypatch: pytest.MonkeyPatch, sweeps: tuple[int, ...] = (5, 4), scored: bool = True
) -> list[str]:
    """A val split, scored or not, boxes of its first log, a training log with clusters, curves; enters the folder."""
    enter(root, monkeypatch)
    logs = write_split(root, [log_arrays(seed, count, 700) for seed, count in enumerate(sweeps)])
    if scored:
        score_pipeline("val", SCORED)
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics/labels.json").write_text(json.dumps({"logs": 1, "dynamic_share": 0.25, "precision": 0.75}))
    write_split(root, [log_arrays(9, 3, 700)], "train")
    add_clusters(root / "data", "log-00")
    for name, values in {"loss": (1.5, 0.75), "chamfer": (0.5, 0.25)}.items():
        path = root / f"data/curves/plots/metrics/train/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"step\t{name}\n" + "".join(f"{i}\t{v}\n" for i, v in enumerate(values, 1)))
    if logs:
        add_boxes(root / "data", logs[0])
    return logs


def add_boxes(data: Path, log: str) -> None:
    """A box that drives away from the vehicle, in the first two sweeps."""
    times = LogFrames.open(data / f"frames/val/{log}.h5").timestamp_ns
    (data / "boxes/val").mkdir(parents=True, exist_ok=True)
    rows = [box_row(0, "a", (5.0 + t, 0.0, 1.0), timestamp_ns=int(time)) for t, time in enumerate(times[:2])]
    write_boxes(data / f"boxes/val/{log}.parquet", rows)


def add_clusters(data: Path, log: str) -> None:
    frames = LogFrames.open(data / f"frames/train/{log}.h5")
    label = (np.arange(frames.num_points) % 5).astype(np.int16)
    attributes = {"log_id": log, "frames_digest": frames.digest}
    write_columns(data / f"clusters/train/{log}.h5", "clusters/1", {"label": label}, attributes)


def report(root: Path, parameters: RenderParameters = KNOBS) -> str:
    """Write the report of the split and return its page."""
    write_report(root / "report", Path("data"), Path("metrics"), "val", parameters)
    return (root / "report/index.html").read_text(encoding="utf-8")
