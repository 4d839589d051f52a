# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""DVC and the store at 200 and 1,000 logs into metrics/benchmarks/pipeline.json: `python -m tests.scale.benchmark`.

The logs are in Argoverse 2's layout, of four sweeps of 20 points, so that what is measured is the pipeline's own cost a
log and not the data's. The project is a copy of this one with its own store and cache, on a temporary folder's disk.
"""

import hashlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.pipeline.project import Project, Repro, make_project
from tests.pipeline.raw_logs import write_log
from tests.scale.rows import row, write_rows

REPEATS = 5
STEPS = ("ingest", "ground", "truth", "dynamic", "cluster", "quality")
PACKAGES = ("dvc", "h5py", "numpy")
SMALLEST = {
    "data.source": "av2",
    "train.epochs": 1,
    "train.batch": 64,
    "train.model.voxel": 3.2,
    "train.model.width": 4,
    "train.model.iterations": 1,
    "train.seflow.dynamic": 0.0,
    "train.seflow.cluster": 0.0,
    "evaluate.bootstrap.resamples": 20,
}


def main(sizes: Sequence[int]) -> None:
    """Measure at each size, the last with changes, and write the rows."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "av2"
        project = make_project(Path(scratch) / "project", SMALLEST)
        for index in range(2):
            write_log(raw, "val", log_id(1_000_000 + index))
        rows: list[dict[str, Any]] = []
        made = 0
        for size in sizes:
            for index in range(made, size):
                write_log(raw, "train", log_id(index))
            made = size
            first = timed(project, raw, catalog=True)
            rows.append(_row(f"first_run_{size}_s", [first[0]], "dvc repro of all stages after so many new logs"))
            rows += idle(project, raw, size)
            write_rows(rows)
        rows.append(disk_row(project.folder, sizes[-1]))
        rows += changes(project, raw, sizes[-1])
    write_rows(rows)


def idle(project: Project, raw: Path, size: int) -> list[dict[str, Any]]:
    """A `dvc repro` with nothing to do: seconds on the clock, which other work lengthens, and of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    runs = [timed(project, raw) for _ in range(REPEATS)]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert not any(repro.ran for _, repro in runs)
    own = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / REPEATS
    load = f"load of the machine {os.getloadavg()[0]:.1f}"
    return [
        _row(f"noop_repro_{size}_s", [seconds for seconds, _ in runs], f"dvc repro with nothing to do; {load}"),
        _row(f"noop_repro_{size}_cpu_s", [own], f"its processor time, mean of {REPEATS}; {load}"),
    ]


def log_id(index: int) -> str:
    """Id of a log by its number."""
    return f"{index:08x}-2222-3333-4444-555555555555"


def timed(project: Project, raw: Path, *targets: str, catalog: bool = False) -> tuple[float, Repro]:
    """Seconds of a `dvc repro` and what it ran; with `catalog`, listing the logs anew counts too."""
    start = time.perf_counter()
    if catalog:
        project.run("dvc", "repro", "simulate", AV2_ROOT=str(raw))
        project.run("dvc", "repro", "--force", "--single-item", "catalog@train", AV2_ROOT=str(raw))
    repro = project.repro(*targets, AV2_ROOT=str(raw))
    return time.perf_counter() - start, repro


def changes(project: Project, raw: Path, size: int) -> list[dict[str, Any]]:
    """One log more, one less, one parameter changed: seconds up to the labels' quality, and how many logs ran."""
    rows = []
    extra = log_id(size)
    before = entries(project)
    write_log(raw, "train", extra)
    seconds, repro = timed(project, raw, "quality", catalog=True)
    rows.append(_row(f"add_one_log_{size}_s", [seconds], told("one log more", repro, before, entries(project))))
    before = entries(project)
    (raw / "sensor/train" / extra).rename(raw / "put-aside")
    seconds, repro = timed(project, raw, "quality", catalog=True)
    rows.append(_row(f"drop_one_log_{size}_s", [seconds], told("one log less", repro, before, entries(project))))
    before = entries(project)
    project.set({"cluster.epsilon": 0.65})
    seconds, repro = timed(project, raw, "quality")
    rows.append(_row(f"change_parameter_{size}_s", [seconds], told("cluster.epsilon", repro, before, entries(project))))
    return rows


def entries(project: Project) -> dict[str, int]:
    """Number of results in the store by step."""
    folders = {step: project.folder / ".scratch" / step for step in STEPS}
    return {step: sum(path.is_dir() for path in folder.iterdir()) for step, folder in folders.items()}


def told(change: str, repro: Repro, before: dict[str, int], after: dict[str, int]) -> str:
    """How it was measured: the change, the stages that ran and the logs that were computed."""
    computed = [f"{step} {after[step] - before[step]}" for step in STEPS if after[step] > before[step]]
    logs = ", ".join(computed) or "none"
    stages = ", ".join(sorted(repro.ran)) or "nothing, all was in DVC's cache"
    return f"{change}: make catalog where logs changed, dvc repro quality; ran {stages}; logs computed: {logs}"


def disk_row(folder: Path, size: int) -> dict[str, Any]:
    """How often the content of the outputs lies on the disk; a file with several names counts once."""
    outputs = inodes([folder / "data"])
    contents = {digest for digest, _ in outputs.values()}
    everything = inodes([folder / ".scratch", folder / ".dvc/cache", folder / "data"])
    copies = sum(length for digest, length in everything.values() if digest in contents)
    once = sum({digest: length for digest, length in outputs.values()}.values())
    others = sum(length for digest, length in everything.values() if digest not in contents)
    how = (
        "bytes of files in store, cache and data that have an output's content, by inode, over those of the outputs;"
        f" {once / 2**20:.1f} MiB of outputs, {others / 2**20:.1f} MiB of others (manifests, listings, older results)"
    )
    return _row(f"disk_copies_{size}", [copies / once], how, unit="ratio")


def inodes(folders: Sequence[Path]) -> dict[tuple[int, int], tuple[str, int]]:
    """Digest and length of each file that is not empty, by its place on the disk."""
    found = {}
    for path in (Path(top) / name for folder in folders for top, _, names in os.walk(folder) for name in names):
        status = path.lstat()
        if status.st_size and (status.st_dev, status.st_ino) not in found:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[status.st_dev, status.st_ino] = digest, status.st_size
    return found


def _row(case: str, values: Sequence[float], how: str, unit: str = "s") -> dict[str, Any]:
    return row(case, values, unit, how, PACKAGES, len(os.sched_getaffinity(0)))


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [200, 1000])
