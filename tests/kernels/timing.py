# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Medians with spread: CUDA events around calls that wait in the queue, graph replays, the host's share, wall clock."""

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

Call = Callable[[], Any]
STRETCH = 40  # calls queued at once: the queue holds a thousand launches
LONG = 2.0  # ms of the host for a call
CYCLES = 1.9e6  # of the GPU in a ms, about


def row(case: str, samples: list[float], unit: str, device: str, **more: Any) -> dict[str, Any]:
    """A row of a benchmark file: the median, and how far the middle 80 % of the samples lie apart."""
    low, middle, high = np.percentile(samples, (10, 50, 90))
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda, "scipy": scipy.__version__}
    value, spread = float(f"{middle:.4g}"), float(f"{high - low:.3g}")
    return {"case": case, "value": value, "unit": unit, "spread": spread, "device": device, "versions": versions} | more


def failed(case: str, unit: str, device: str, error: Exception) -> dict[str, Any]:
    """The row of a case that did not run: no value, and the first line of the reason."""
    lines = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0][:300]}"
    return row(case, [np.nan], unit, device) | {"value": None, "spread": None, "failed": reason}


def shown(found: dict[str, Any]) -> str:
    """A row as a line of text."""
    if "failed" in found:
        return f"{found['case']:45} failed: {found['failed']}"
    return f"{found['case']:45} {found['value']:10} {found['unit']}  +- {found['spread']}  {found['device']}"


def on_gpu(call: Call, repeats: int = 200, warm: int = 10) -> list[float]:
    """Milliseconds that the GPU takes for a call, from event to event.

    A stretch of calls is queued while the GPU is kept busy, so each finds the next one waiting: how long the host takes
    to queue it is not in the time, whatever the host (`on_host` has that). Calls that take the host longer than
    `LONG` ms, as training steps do, are queued without that: their time is the longer of the two. A caller who waits
    for each answer pays the launch and the wait on top.
    """
    for _ in range(warm):
        call()
    torch.cuda.synchronize()
    host = on_host(call, stretches=1, calls=3)[0]
    stretch, busy = STRETCH, 0.0 if host > LONG else 2 * host * STRETCH
    samples: list[float] = []
    while len(samples) < repeats:
        times, ahead = _stretch(call, min(stretch, repeats - len(samples)), busy)
        if ahead:
            samples += times
        elif stretch == 1:
            raise RuntimeError(f"the host did not queue a call in {busy:.0f} ms, but {host:.2f} ms before")
        else:  # it was held up, or the queue was full
            stretch, busy = stretch // 2, 1.5 * busy
    return samples


def _stretch(call: Call, calls: int, busy: float) -> tuple[list[float], bool]:
    """Milliseconds of each call, and whether all were queued before the GPU, busy for so many ms, came to the first."""
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(calls)]
    if busy:
        torch.cuda._sleep(int(busy * CYCLES))
    for start, end in events:
        start.record()
        call()
        end.record()
    ahead = not busy or not events[0][0].query()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in events], ahead


def in_graph(call: Call, repeats: int = 200) -> list[float]:
    """The same for replays of a CUDA graph of one call."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return on_gpu(graph.replay, repeats)


def on_host(call: Call, stretches: int = 20, calls: int = 20) -> list[float]:
    """Milliseconds that the host takes to queue a call, while the GPU is busy with something else."""
    call()
    samples = []
    for _ in range(stretches):
        torch.cuda.synchronize()
        torch.cuda._sleep(int(50 * CYCLES))
        start = time.perf_counter()
        for _ in range(calls):
            call()
        samples.append((time.perf_counter() - start) * 1e3 / calls)
    torch.cuda.synchronize()
    return samples


def on_cpu(call: Call, repeats: int = 7) -> list[float]:
    """Milliseconds of wall clock."""
    call()
    samples = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        samples.append((time.perf_counter() - start) * 1e3)
    return samples


def cpu_name(threads: int) -> str:
    """Model of the processor and how many threads were used."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    return f"{model}, {threads} threads"


def write_rows(path: Path | None, rows: list[dict[str, Any]]) -> None:
    """Rows into a benchmark file; those of other cases in it stay. After each part, for a run that is cut short."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else []
    measured = {found["case"] for found in rows}
    kept = [found for found in before if found["case"] not in measured]
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump([*kept, *rows], file, indent=2)
        file.write("\n")
    os.replace(file.name, path)
