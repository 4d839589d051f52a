# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of the evaluation into metrics/benchmarks/evaluation.json: `python -m tests.evaluation.benchmark`.

One core: the process starts itself again with the environment of the pipeline's workers, which numpy reads when it is
imported, and is bound to one processor.
"""

import json
import os
import sys

from stages.pipeline.pool import WORKER_ENVIRONMENT

_CORE = {min(os.sched_getaffinity(0))}
if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
    os.sched_setaffinity(0, _CORE)
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.evaluation.benchmark"], {**os.environ, **WORKER_ENVIRONMENT}
    )

import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

from stages.evaluation.accumulate import Accumulator
from stages.evaluation.baselines import nearest
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.families import FrameScorer
from stages.evaluation.frame import FrameTruth, frame_errors
from stages.evaluation.labels import LogLabels
from stages.evaluation.scores import ScoreParameters, score_frames, write_scores
from stages.evaluation.split import merge_scores, report, write_tables
from stages.frames.write import atomic
from tests.evaluation.data import log_arrays, write_log

OUTPUT = Path("metrics/benchmarks/evaluation.json")
POINTS = 90_000
FRAMES = 4_700
REPEATS = 40


@dataclass(frozen=True)
class Repeated:
    """Labels of a log whose first pair is repeated."""

    labels: LogLabels
    frames_in_all: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.labels, name)

    def has_flow(self) -> Any:
        return np.arange(self.frames_in_all)

    def frame(self, t: int, official_mask: Any = None) -> FrameTruth:
        return self.labels.frame(0, official_mask)


def main() -> None:
    """Measure on one core and write the rows."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        arrays = log_arrays(0, 2, POINTS)
        write_log(data, "val", "log", arrays)
        files = {kind: data / kind / "val" / "log.h5" for kind in ("frames", "truth", "ground")}
        labels = LogLabels.open("log", files)
        residual = arrays["residual"][labels.frames.span(0)]
        rows = [_row("all_metrics_frame", "ms", _times(_frame(labels, residual))), *_memory(labels, residual, scratch)]
        pair = labels.pair(0, labels.frame(0))
        rows.append(_row("nearest_baseline_frame", "ms", _times(lambda: nearest(pair), 5)))
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


def _times(step: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _memory(labels: LogLabels, residual: Any, scratch: str) -> list[dict[str, Any]]:
    """Score many frames as one log, merge, report and write tables; peak memory of the whole process."""
    repeated: Any = Repeated(labels, FRAMES)
    start = time.perf_counter()
    scores = score_frames(repeated, lambda *_: {"model": (residual, None)}, ScoreParameters("all", "refuse"))
    output = Path(scratch) / "scores"
    for name in ("model", "baselines"):
        write_scores(output / name / "log.h5", labels, scores)
    merged = merge_scores(output)
    _, draws = report(merged, BootstrapParameters(1000, 0, 0.95))
    write_tables(output, merged, draws)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        _row(f"score_{FRAMES}_frames", "s", [seconds]),
        _row(f"peak_memory_{FRAMES}_frames", "MiB", [peak]),
    ]


def _row(case: str, unit: str, values: list[float]) -> dict[str, Any]:
    spread = float(np.subtract(*np.percentile(values, [75, 25])))
    return {
        "case": case,
        "value": round(statistics.median(values), 3),
        "unit": unit,
        "spread": round(spread, 3),
        "device": f"{_processor()}, one core",
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
