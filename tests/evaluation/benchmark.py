# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of the evaluation into metrics/benchmarks/evaluation.json.

`python -m tests.evaluation.benchmark [LOGS]`; 30 logs are the official frames of the val split and take half an hour.
One core: the process starts itself again bound to one processor, with the environment of the pipeline's workers, which
numpy reads when it is imported. Memory is that of the stage's own path, from the files of a split to its tables.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stages.evaluation.accumulate import Accumulator
from stages.evaluation.baselines import nearest
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.families import FrameScorer
from stages.evaluation.frame import frame_errors
from stages.evaluation.labels import LogLabels
from stages.evaluation.masks import open_masks
from stages.evaluation.scores import ScoreParameters
from stages.evaluation.split import Source, merge_scores, report, score_logs, write_tables
from stages.evaluation.submission import write_feather
from stages.frames.write import atomic
from stages.pipeline.pool import WORKER_ENVIRONMENT
from tests.evaluation.data import log_arrays, write_log

OUTPUT = Path("metrics/benchmarks/evaluation.json")
MODULE = "tests.evaluation.benchmark"
POINTS = 90_000
PAIRS = 157  # of a log of AV2
LOGS = "30"  # 4,710 frames, the official ones of the val split
MASKS = 4_800  # entries of the official mask zip
REPEATS = 40


def main(logs: int) -> None:
    """Measure on one core and write the rows."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        arrays = log_arrays(0, 2, POINTS)
        write_log(data, "val", "log", arrays)
        files = {kind: data / kind / "val" / "log.h5" for kind in ("frames", "truth", "ground")}
        labels = LogLabels.open("log", files)
        residual = arrays["residual"][labels.frames.span(0)]
        rows = [_row("all_metrics_frame", "ms", _times(_frame(labels, residual)))]
        pair = labels.pair(0, labels.frame(0))
        rows.append(_row("nearest_baseline_frame", "ms", _times(lambda: nearest(pair), 5)))
        rows.append(_row("official_mask_frame", "ms", _mask_times(labels, Path(scratch))))
    rows += _split_rows(logs)
    with atomic(OUTPUT) as file:
        file.write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


def _frame(labels: LogLabels, residual: Any) -> Callable[[], None]:
    """One frame from its files' types to running totals, all families."""
    totals = Accumulator()

    def step() -> None:
        truth = labels.frame(0)
        totals.add(FrameScorer(truth).sums(frame_errors(truth, residual)))

    return step


def _mask_times(labels: LogLabels, scratch: Path) -> list[float]:
    """One frame's mask from a zip of as many entries as the official one."""
    name = f"log/{int(labels.frames.timestamp_ns[0])}.feather"
    write_feather(scratch / "mask.feather", {"mask": labels.v1_mask(0)})
    content = (scratch / "mask.feather").read_bytes()
    with zipfile.ZipFile(scratch / "masks.zip", "w") as archive:
        archive.writestr(name, content)
        for i in range(MASKS):
            archive.writestr(f"other/{i}.feather", b"")
    with open_masks(scratch / "masks.zip") as masks:
        assert masks is not None
        return _times(lambda: masks.mask(labels.frames, 0))


def _times(step: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _split_rows(logs: int) -> list[dict[str, Any]]:
    """Time and peak memory of a split, in processes of their own: a peak cannot be taken back."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", MODULE, "make", scratch, str(logs)], check=True)
        run = subprocess.run([sys.executable, "-m", MODULE, "score", scratch], check=True, stdout=subprocess.PIPE)
        found = json.loads(run.stdout)
    name = f"{logs * PAIRS}_frames_with_baselines"
    return [
        _row(f"score_{name}", "s", [found["seconds"]]),
        _row(f"peak_memory_{name}", "MiB", [found["stage"] + found["worker"]]),
    ]


def make_split(root: Path, logs: int) -> None:
    """A split of equal logs: one that is written, and links to it."""
    data = root / "data"
    write_log(data, "val", "log-00", log_arrays(0, PAIRS + 1, POINTS))
    for folder in data.iterdir():
        for i in range(1, logs):
            os.link(folder / "val" / "log-00.h5", folder / "val" / f"log-{i:02d}.h5")


def score_split(root: Path) -> None:
    """Score the split with one worker; print seconds, and the peaks of this process and of its worker."""
    os.environ.update(SCENEFLOW_WORKERS="1", SCENEFLOW_STORE=str(root / "store"))
    predictions = {path.stem: path for path in (root / "data" / "predictions" / "val").iterdir()}
    start, output = time.perf_counter(), root / "evaluation"
    score_logs(Source(root / "data", "val", predictions), ScoreParameters("all", "refuse"), output)
    merged = merge_scores(output)
    _, draws = report(merged, BootstrapParameters(1000, 0, 0.95))
    write_tables(output, merged, draws)
    seconds = time.perf_counter() - start
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "stage": _own_peak(), "worker": worker}))


def _own_peak() -> float:
    """Peak memory of this process, MiB; `getrusage` would count what its parent held when it was started."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def _row(case: str, unit: str, values: list[float]) -> dict[str, Any]:
    spread = float(np.subtract(*np.percentile(values, [75, 25])))
    return {
        "case": case,
        "value": round(statistics.median(values), 3),
        "unit": unit,
        "spread": round(spread, 3),
        "device": f"{_processor()}, one core",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": version("scipy")},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def bind_to_one_core() -> None:
    """Start this process again on one processor if it does not run on one, as the workers do."""
    if os.environ.items() >= WORKER_ENVIRONMENT.items() and len(os.sched_getaffinity(0)) == 1:
        return
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.execve(sys.executable, [sys.executable, "-m", MODULE, *sys.argv[1:]], {**os.environ, **WORKER_ENVIRONMENT})


if __name__ == "__main__":
    bind_to_one_core()
    step, *rest = sys.argv[1:] or [LOGS]
    if step == "make":
        make_split(Path(rest[0]), int(rest[1]))
    elif step == "score":
        score_split(Path(rest[0]))
    else:
        main(int(step))
