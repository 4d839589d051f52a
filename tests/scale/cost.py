# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Processor time and memory of each data stage for one log of AV2's size: `python -m tests.scale.cost [SWEEPS]`.

The log is a real one of AV2_ROOT's train split, repeated: its sweeps come again and again along its track, each time
with its piece of the map 210 m farther on, where no repetition sees the space of another, so that as many points are
dynamic as in the log itself. Each sweep is thinned at random to 90,000 points. Each stage runs in a process of its own
with the environment of the pipeline's workers and the parameters of params.yaml.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from stages.av2.poses import read_poses
from stages.frames.ingest import IngestParameters, ingest_log
from stages.labels.cluster import ClusterParameters, cluster_log
from stages.labels.dynamic import DynamicParameters, dynamic_log
from stages.labels.ground import GroundParameters, ground_log
from stages.labels.truth import TruthParameters, truth_log
from stages.pipeline.code import ROOT
from stages.pipeline.parameters import from_mapping, read_file
from stages.pipeline.pool import WORKER_ENVIRONMENT
from tests.pipeline.raw_logs import POSE, av2_entry, av2_ingest
from tests.scale.rows import row, write_rows

SWEEPS, POINTS, STEP_NS = 156, 90_000, 100_000_000
ONWARD_CELLS, CELL_M = 700, 0.3  # from one repetition to the next, in cells of the map's raster
FRAMES, LABELS = ("ingest", "ground", "truth"), ("dynamic-0.15", "dynamic-0.2", "cluster")
LOG = "00000000-2222-3333-4444-555555555555"
CORES, LOGS = 16, 700
PACKAGES = ("numpy", "scipy", "dufomap", "hdbscan", "pypatchworkpp", "h5py", "pyarrow")


def main(sweeps: int) -> None:
    """Make the log, run the stages on it, write the rows."""
    source = next(path for path in sorted(Path(os.environ["AV2_ROOT"]).glob("sensor/train/*")) if path.is_dir())
    with tempfile.TemporaryDirectory() as scratch:
        repeat_log(source, Path(scratch) / LOG, sweeps)
        used = {step: run_step(step, Path(scratch)) for step in (*FRAMES, *LABELS)}
        raw = sum(path.stat().st_size for path in (Path(scratch) / LOG).rglob("*") if path.is_file())
        sizes = {path.stem: path.stat().st_size / 1e9 for path in sorted(Path(scratch).glob("*.*"))}
    many = f"{sweeps} sweeps of {POINTS} points, real ones repeated; one process"
    frames = sum(used[step]["cpu_s"] for step in FRAMES)
    labels = {size: used[f"dynamic-{size}"]["cpu_s"] + used["cluster"]["cpu_s"] for size in ("0.15", "0.2")}
    parts = ", ".join(
        f"{step} {figures['cpu_s']:.1f} s {figures['peak_gib']:.2f} GiB" for step, figures in used.items()
    )
    rows = [
        _row("frames_core_s_per_log", frames, "s", f"{many}; {parts}"),
        _row("labels_core_s_per_log", labels["0.15"], "s", f"{many}; dynamic.resolution 0.15, as published; {parts}"),
        _row("labels_core_s_per_log_default", labels["0.2"], "s", f"{many}; dynamic.resolution 0.2, the default"),
        _row("peak_gib_per_worker", max(figures["peak_gib"] for figures in used.values()), "GiB", f"{many}; VmHWM"),
    ]
    hours = LOGS * (frames + labels["0.15"]) / CORES / 3600
    rows.append(_row("hours_700_logs_16_cores", hours, "h", "calculated: (frames + labels) x 700 logs / 16 cores"))
    each = ", ".join(f"{kind} {size:.3f}" for kind, size in sizes.items())
    rows.append(_row("gb_per_log", sum(sizes.values()), "GB", f"{many}; {each}; beside {raw / 1e9:.3f} of raw files"))
    write_rows(rows)


def _row(case: str, value: float, unit: str, how: str) -> dict[str, Any]:
    return row(case, [value], unit, how, PACKAGES, cores=1)


def repeat_log(source: Path, target: Path, sweeps: int) -> None:
    """A log of as many sweeps as wanted from a real one."""
    names = sorted((source / "sensors/lidar").glob("*.feather"), key=lambda path: int(path.stem))
    old = np.array([int(path.stem) for path in names])
    new = int(old[0]) + STEP_NS * np.arange(sweeps)
    tracks = read_poses((source / "city_SE3_egovehicle.feather").read_bytes(), source.name, old)
    (target / "sensors/lidar").mkdir(parents=True)
    (target / "map").mkdir()
    (target / "calibration").mkdir()
    turns = -(-sweeps // len(names))
    repeat_raster(next(source.glob("map/*.npy")), target / "map", float(np.mean(tracks[:, 0, 3])), turns)
    for path in (*source.glob("map/*.json"), *source.glob("calibration/*")):
        (target / path.relative_to(source)).write_bytes(path.read_bytes())
    boxes = feather.read_table(source / "annotations.feather")
    poses, all_boxes = [], []
    for index, time in enumerate(new):
        turn, place = divmod(index, len(names))
        poses.append(tracks[place] + turn * ONWARD_CELLS * CELL_M * np.eye(4)[0][:, None] * np.eye(4)[3])
        thin_sweep(names[place], target / f"sensors/lidar/{time}.feather", index)
        here = boxes.filter(pa.compute.equal(boxes["timestamp_ns"], int(old[place])))
        column = pa.array(np.full(len(here), time), pa.int64())
        all_boxes.append(here.set_column(here.column_names.index("timestamp_ns"), "timestamp_ns", column))
    feather.write_feather(pose_table(new, np.array(poses)), target / "city_SE3_egovehicle.feather")
    feather.write_feather(pa.concat_tables(all_boxes), target / "annotations.feather")


def repeat_raster(source: Path, folder: Path, middle_m: float, turns: int) -> None:
    """A raster that holds the piece around the track again and again along city x, which must be its columns' axis."""
    sim2 = json.loads(next(source.parent.glob("*___img_Sim2_city.json")).read_text())
    assert sim2["R"] == [1.0, 0.0, 0.0, 1.0], "a raster that is turned against the city cannot be repeated"
    heights = np.load(source)
    centre = round((middle_m + sim2["t"][0]) * sim2["s"])
    piece = heights[:, max(centre - ONWARD_CELLS // 2, 0) : centre + ONWARD_CELLS // 2]
    start = max(centre - ONWARD_CELLS // 2, 0)
    repeated = np.full((heights.shape[0], start + turns * ONWARD_CELLS), np.nan, heights.dtype)
    for turn in range(turns):
        repeated[:, start + turn * ONWARD_CELLS :][:, : piece.shape[1]] = piece
    np.save(folder / source.name, repeated)


def thin_sweep(source: Path, target: Path, seed: int) -> None:
    """A sweep with POINTS of its points."""
    table = feather.read_table(source)
    count = min(POINTS, len(table))
    rows = np.sort(np.random.default_rng(seed).choice(len(table), count, replace=False))
    feather.write_feather(table.take(rows), target, compression="uncompressed")


def pose_table(times: np.ndarray, poses: np.ndarray) -> pa.Table:
    """Poses (T, 4, 4) as AV2 stores them."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(poses[:, :3, :3]).as_quat().T
    columns = dict(zip(POSE, (w, x, y, z, *poses[:, :3, 3].T), strict=True))
    return pa.table({"timestamp_ns": times.astype(np.int64), **columns})


def run_step(step: str, folder: Path) -> dict[str, float]:
    """Figures of a step in a process of its own."""
    command = [sys.executable, "-m", "tests.scale.cost", step, os.fspath(folder)]
    result = subprocess.run(command, env={**os.environ, **WORKER_ENVIRONMENT}, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def measure(step: str, folder: Path) -> None:
    """Runs in the step's process: print its processor time and the peak of its memory."""
    run = functions(folder)[step]
    before = resource.getrusage(resource.RUSAGE_SELF)
    run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    sys.stdout.write(json.dumps({"cpu_s": cpu, "peak_gib": int(peak.split()[1]) / 2**20}) + "\n")


def functions(folder: Path, raw: Path | None = None) -> dict[str, Callable[[], None]]:
    """Each stage's function of one log, from its raw folder to files of a folder."""
    params = read_file(ROOT / "params.yaml")
    path = {kind: folder / f"{kind}.h5" for kind in ("frames", "maps", "ground", "truth", "dynamic", "clusters")}
    path |= {"boxes": folder / "boxes.parquet", "raw": raw or folder / LOG}
    entry = {"entry": json.dumps(av2_entry(path["raw"], "quick")), "digest": "quick"}

    log = path["raw"].name

    def section(kind: type, name: str, **changes: object) -> Any:
        return from_mapping(name, kind, {**params[name], **changes})

    def dynamic(resolution: float) -> Callable[[], None]:
        parameters = section(DynamicParameters, "dynamic", resolution=resolution)
        return partial(dynamic_log, log, path, path, parameters)

    return {
        "ingest": partial(
            ingest_log, log, path, path, av2_ingest(section(IngestParameters, "ingest").pair_gap_s), entry
        ),
        "ground": partial(ground_log, log, path, path, section(GroundParameters, "ground")),
        "truth": partial(truth_log, log, path, path, section(TruthParameters, "truth")),
        "dynamic-0.15": dynamic(0.15),
        "dynamic-0.2": dynamic(0.2),
        "cluster": partial(cluster_log, log, path, path, section(ClusterParameters, "cluster")),
    }


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) == 2 else SWEEPS)
