# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Logs as plain folders: a small one written out by hand, and any log of AV2's layout saved again in this format."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from stages.av2.adapter import Av2
from stages.folder.adapter import Folder
from stages.frames.ingest import Ingest
from stages.sources.catalog import log_entry
from stages.sources.log_files import LogFiles
from tests.pipeline.raw_logs import TIMES, av2_entry, box_table

LOG = "monday-01"
SWEEPS = 4


def write_folder_log(root: Path, split: str = "train", log: str = LOG) -> Path:
    """Four sweeps of 20 points, the vehicle 1 m further in each, one car with a box; returns the folder."""
    folder = root / split / log
    (folder / "sweeps").mkdir(parents=True)
    for i in range(SWEEPS):
        np.save(folder / f"sweeps/{i}.npy", points(i))
    poses = np.tile(np.eye(4), (SWEEPS, 1, 1))
    poses[:, 0, 3] = 5000.0 + np.arange(SWEEPS)
    np.save(folder / "poses.npy", poses)
    (folder / "timestamps.txt").write_text("".join(f"{time}\n" for time in TIMES))
    mount = np.eye(4)
    mount[:3, 3] = [1.0, 0.0, 1.8]
    (folder / "mounts.json").write_text(json.dumps({"up_lidar": mount.tolist()}))
    pq.write_table(box_table(TIMES), folder / "boxes.parquet")
    return folder


def points(seed: int) -> np.ndarray:
    """x, y, z in metres and intensity  # (20, 4) float32"""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-20, 20, (20, 3)), np.arange(20)]).astype(np.float32)


def save_av2_log(source: Path, target: Path) -> None:
    """Save a log of AV2's layout as a plain folder, with everything but its map."""
    av2 = Av2()
    log = LogFiles(source.name, source, av2_entry(source, "full"), "full", av2.is_sweep)
    (target / "sweeps").mkdir(parents=True)
    for i in range(len(av2.timestamps(log))):
        sweep = av2.sweep(log, i)
        columns = [*sweep.xyz.T, sweep.intensity, sweep.laser_number, sweep.offset_ns]
        names = "x,y,z,intensity,laser_number,offset_ns"
        np.save(target / f"sweeps/{i:04d}.npy", np.rec.fromarrays(columns, names=names).view(np.ndarray))
    np.save(target / "poses.npy", av2.poses(log))
    np.save(target / "timestamps.npy", av2.timestamps(log))
    mounts = {name: mount.tolist() for name, mount in av2.mounts(log).items()}
    (target / "mounts.json").write_text(json.dumps(mounts))
    boxes = av2.boxes(log)
    if boxes is not None:
        pq.write_table(boxes, target / "boxes.parquet")


def folder_entry(folder: Path, digest: str = "full") -> dict[str, list[int | str]]:
    return log_entry(folder, Folder().files(folder.name, folder), digest, Folder().is_sweep)


def folder_ingest() -> Ingest:
    return Ingest((0.05, 0.15), Folder(), code="")
