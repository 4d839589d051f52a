# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Every fault of raw data is told in one sentence with log, file and remedy, or is harmless and passes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from models.data.logfile import LogFrames
from models.errors import InputError
from stages.av2.layout import dataset_folder
from stages.frames.ingest import ingest_log
from stages.pipeline.code import ROOT
from tests.pipeline.raw_logs import (
    LOG,
    TIMES,
    av2_entry,
    av2_ingest,
    box_table,
    pose_table,
    sweep_table,
    write_feather,
    write_log,
)

SWEEP = f"sensors/lidar/{TIMES[1]}.feather"
POSES, BOXES = "city_SE3_egovehicle.feather", "annotations.feather"


def ingest(folder: Path, out: Path, entry: dict | None = None) -> LogFrames:
    outputs = {
        kind: out / f"{kind}{end}" for kind, end in {"frames": ".h5", "boxes": ".parquet", "maps": ".h5"}.items()
    }
    arguments = {"entry": json.dumps(av2_entry(folder, "full") if entry is None else entry), "digest": "full"}
    ingest_log(folder.name, {"raw": folder}, outputs, av2_ingest(), arguments=arguments)
    return LogFrames.open(outputs["frames"])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def replace_sweep(folder: Path, column: str, values: pa.Array | None) -> None:
    table = sweep_table()
    index = table.column_names.index(column)
    table = table.remove_column(index) if values is None else table.set_column(index, column, values)
    write_feather(folder / SWEEP, table)


def with_nan() -> pa.Array:
    x = sweep_table()["x"].to_numpy().copy()
    x[7] = np.nan
    return pa.array(x)


def double_box(folder: Path) -> None:
    write_feather(folder / BOXES, pa.concat_tables([box_table(TIMES), box_table(TIMES[2:3])]))


BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "truncated sweep": (lambda log: truncate(log / SWEEP), [SWEEP, "cannot be read as Feather", "fetch"]),
    "empty sweep file": (lambda log: (log / SWEEP).write_bytes(b""), [SWEEP, "it is empty", "fetch"]),
    "truncated poses": (lambda log: truncate(log / POSES), [POSES, "cannot be read as Feather"]),
    "truncated boxes": (lambda log: truncate(log / BOXES), [BOXES, "cannot be read as Feather"]),
    "missing column": (lambda log: replace_sweep(log, "laser_number", None), [SWEEP, "no column laser_number"]),
    "wrong dtype": (
        lambda log: replace_sweep(log, "offset_ns", pa.array(np.zeros(20))),
        [SWEEP, "offset_ns of type double, wanted int32"],
    ),
    "NaN point": (lambda log: replace_sweep(log, "x", with_nan()), [SWEEP, "1 points with NaN or infinity", "row 7"]),
    "infinite point": (
        lambda log: replace_sweep(log, "z", pa.array(np.full(20, np.inf, dtype=np.float16))),
        [SWEEP, "20 points with NaN or infinity"],
    ),
    "nulls": (
        lambda log: replace_sweep(log, "intensity", pa.array([None] * 20, type=pa.uint8())),
        [SWEEP, "20 nulls in intensity"],
    ),
    "no poses file": (lambda log: (log / POSES).unlink(), [f"has no {POSES}", "fetch"]),
    "no pose at a sweep": (
        lambda log: write_feather(log / POSES, pose_table(TIMES[:2] + TIMES[3:])),
        [POSES, f"no pose at sweep {TIMES[2]}"],
    ),
    "no pose after the last": (
        lambda log: write_feather(log / POSES, pose_table(TIMES[:3])),
        [POSES, f"no pose at sweep {TIMES[3]}"],
    ),
    "duplicated pose timestamp": (
        lambda log: write_feather(log / POSES, pose_table([*TIMES, TIMES[-1]])),
        [POSES, f"timestamp {TIMES[-1]} twice"],
    ),
    "shuffled pose timestamps": (
        lambda log: write_feather(log / POSES, pose_table([TIMES[1], TIMES[0], *TIMES[2:]])),
        [POSES, f"timestamp {TIMES[0]} out of order"],
    ),
    "no calibration": (
        lambda log: (log / "calibration/egovehicle_SE3_sensor.feather").unlink(),
        ["has no calibration/egovehicle_SE3_sensor.feather"],
    ),
    "sweep without a timestamp": (
        lambda log: (log / SWEEP).rename(log / "sensors/lidar/latest.feather"),
        ["sensors/lidar/latest.feather", "not named by its timestamp"],
    ),
    "sweep of a second spelling": (
        lambda log: shutil.copy(log / SWEEP, log / f"sensors/lidar/0{TIMES[1]}.feather"),
        [f"sensors/lidar/0{TIMES[1]}.feather", "not named by its timestamp"],
    ),
    "timestamp beyond 64 bits": (
        lambda log: shutil.copy(log / SWEEP, log / "sensors/lidar/9999999999999999999.feather"),
        ["sensors/lidar/9999999999999999999.feather", "not named by its timestamp"],
    ),
    "no sweeps": (lambda log: [p.unlink() for p in (log / "sensors/lidar").iterdir()], ["has no sensors/lidar"]),
    "two rasters": (
        lambda log: np.save(log / "map/other_ground_height_surface____MIA.npy", np.zeros((2, 2))),
        ["has 2 files map/*_ground_height_surface____*.npy", "keep one"],
    ),
    "raster without Sim2": (
        lambda log: next(log.glob("map/*Sim2*")).unlink(),
        ["has no map/", "Sim2_city.json"],
    ),
    "broken Sim2": (lambda log: next(log.glob("map/*Sim2*")).write_text('{"R": 1}'), ["Sim2_city.json", "R, t and s"]),
    "quaternion not unit": (
        lambda log: write_feather(log / BOXES, box_table(TIMES, qw=0.9)),
        [BOXES, "row 0", "quaternion of length 0.9"],
    ),
    "unknown category": (
        lambda log: write_feather(log / BOXES, box_table(TIMES, category="UNICORN")),
        [BOXES, "row 0", "'UNICORN'", "rename"],
    ),
    "box without size": (
        lambda log: write_feather(log / BOXES, box_table(TIMES, width_m=0.0)),
        [BOXES, "row 0", "size"],
    ),
    "track twice in a sweep": (double_box, [BOXES, "row 4", "track car-1 a second time", str(TIMES[2])]),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    damage, wanted = BAD[name]
    folder = write_log(tmp_path)
    damage(folder)
    with pytest.raises(InputError) as refusal:
        ingest(folder, tmp_path / "out")
    message = str(refusal.value)
    assert f"log {LOG}" in message
    assert "\n" not in message
    assert re.search(
        r"[;?] ?(fetch|rename|keep|remove|repair|give|is |make|drop|sort|set|name|delete|correct)", message
    )
    for part in wanted:
        assert part in message


def test_times_since_1970_of_today_have_nineteen_digits(tmp_path: Path) -> None:
    folder = write_log(tmp_path)
    late = 1_557_539_924_000_000_000
    for time in TIMES:
        (folder / f"sensors/lidar/{time}.feather").rename(folder / f"sensors/lidar/{late + time - TIMES[0]}.feather")
    write_feather(folder / POSES, pose_table([late + time - TIMES[0] for time in TIMES]))
    write_feather(folder / BOXES, box_table([late + time - TIMES[0] for time in TIMES]))
    assert ingest(folder, tmp_path / "out").timestamp_ns[0] == late


@pytest.mark.parametrize("points", [0, 1, 10])
def test_a_sweep_of_few_points_is_kept(points: int, tmp_path: Path) -> None:
    folder = write_log(tmp_path)
    write_feather(folder / SWEEP, sweep_table(points))
    frames = ingest(folder, tmp_path / "out")
    assert np.diff(frames.frame_start).tolist() == [20, points, 20, 20]
    assert frames.pairs().tolist() == [0, 1, 2]


def test_sweeps_across_a_gap_make_no_pair(tmp_path: Path) -> None:
    folder = write_log(tmp_path)
    (folder / SWEEP).unlink()  # sweeps 0, 2, 3 are left: 0.2 s and 0.1 s apart
    assert ingest(folder, tmp_path / "out").pairs().tolist() == [1]


def test_a_single_sweep_makes_no_pair(tmp_path: Path) -> None:
    assert ingest(write_log(tmp_path, times=TIMES[:1]), tmp_path / "out").pairs().tolist() == []


def test_no_map_and_no_boxes_pass_through(tmp_path: Path) -> None:
    folder = write_log(tmp_path)
    (folder / BOXES).unlink()
    for path in (folder / "map").iterdir():
        path.unlink()
    ingest(folder, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["frames.h5"]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda log: write_feather(log / SWEEP, sweep_table(seed=9)), f"{SWEEP} changed since"),
        (lambda log: (log / SWEEP).unlink(), f"{SWEEP} is gone since"),
        (lambda log: shutil.rmtree(log), "is in the catalog but not at"),
        (lambda log: write_feather(log / f"sensors/lidar/{TIMES[0] + 5}.feather", sweep_table()), "is new since"),
    ],
)
def test_raw_data_that_changed_after_the_catalog(change: Callable[[Path], None], part: str, tmp_path: Path) -> None:
    folder = write_log(tmp_path)
    entry = av2_entry(folder, "full")
    change(folder)
    with pytest.raises(InputError, match="make catalog") as refusal:
        ingest(folder, tmp_path / "out", entry)
    assert part in str(refusal.value)


@pytest.mark.parametrize("content", ["empty", "both", "absent"])
def test_a_root_that_is_not_av2(content: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in {"empty": ["x"], "both": ["sensor", "lidar"], "absent": []}[content]:
        (root / name).mkdir(parents=True)
    with pytest.raises(InputError, match="AV2 root"):
        dataset_folder(root)


def test_poses_are_exact_and_doubles(tmp_path: Path) -> None:
    poses = ingest(write_log(tmp_path), tmp_path / "out").city_SE3_ego
    assert poses.dtype == np.float64
    assert poses[:, 0, 3].tolist() == [5000.0, 5001.0, 5002.0, 5003.0]


def test_one_bad_log_fails_the_stage_and_keeps_the_others(tmp_path: Path) -> None:
    """Through the command line: exit status 1, one sentence, no traceback, and the good log is in the store."""
    good, bad = "aaaa", "bbbb"
    write_log(tmp_path / "root", log=good)
    truncate(write_log(tmp_path / "root", log=bad) / SWEEP)
    (tmp_path / "params.yaml").write_text(
        "data: {source: av2}\ncatalog: {digest: full}\ningest: {pair_gap_s: [0.05, 0.15]}\n"
    )
    first = run(tmp_path, "catalog"), run(tmp_path, "ingest")
    assert first[0].returncode == 0
    assert first[1].returncode == 1
    assert f"log {bad}: {SWEEP} cannot be read" in first[1].stderr
    assert "Traceback" not in first[1].stderr
    assert not (tmp_path / "data/frames/train").exists()
    write_feather(tmp_path / "root/sensor/train" / bad / SWEEP, sweep_table(seed=1))
    assert run(tmp_path, "catalog").returncode == 0
    second = run(tmp_path, "ingest")
    assert second.returncode == 0
    assert "2/2 logs, 1 from the store" in second.stderr
    assert sorted(p.name for p in (tmp_path / "data/frames/train").iterdir()) == ["aaaa.h5", "bbbb.h5", "index.parquet"]


def run(folder: Path, stage: str) -> subprocess.CompletedProcess[str]:
    own = {"AV2_ROOT": str(folder / "root"), "SCENEFLOW_STORE": str(folder / "store"), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **own}
    command = [sys.executable, "-m", f"stages.{stage}", "--split", "train"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
