# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How fast pairs are read, and whether training waits for them."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.data.faults import batch_or_raise
from models.data.labels import TrainLog, open_logs
from models.data.module import PairData, PairDataset
from models.data.pairs import read_pair
from stages.frames.write import content_digest, write_columns
from tests.kernels.timing import cpu_name, on_cpu

if TYPE_CHECKING:
    from tests.models.benchmark import Bench

CLIP = 5.0  # norm of the gradients
SWEEPS = 33  # 32 pairs a log, two steps of 16


def write_log(folder: Path, log: str, sweeps: list[np.ndarray], labels: list[np.ndarray]) -> None:
    """Frames, ground and clusters of one log whose car stands still; none of its points is ground."""
    points = np.concatenate(sweeps).astype(np.float16)
    count = len(sweeps)
    columns = {
        "xyz": points,
        "intensity": np.zeros(len(points), np.uint8),
        "laser_number": np.zeros(len(points), np.uint8),
        "offset_ns": np.zeros(len(points), np.int32),
        "frame_start": np.cumsum([0, *map(len, sweeps)]).astype(np.int64),
        "timestamp_ns": np.arange(count, dtype=np.int64) * 10**8,
        "city_SE3_ego": np.broadcast_to(np.eye(4), (count, 4, 4)).copy(),
        "pair_next": np.arange(count) < count - 1,
        "ego_SE3_up_lidar": np.eye(4),
    }
    digest = content_digest(columns)
    owner = {"log_id": log, "frames_digest": digest}
    write_columns(folder / f"frames/{log}.h5", "frames/1", columns, {"log_id": log, "digest": digest})
    write_columns(folder / f"ground/{log}.h5", "ground/1", {"ground": np.zeros(len(points), np.bool_)}, owner)
    write_columns(folder / f"clusters/{log}.h5", "clusters/1", {"label": np.concatenate(labels)}, owner)


def loading_rows(bench: Bench, training: Callable[..., Any], labelled: Callable[..., Any]) -> list[dict[str, Any]]:
    """Reading of one pair from the page cache, a batch made ready, and samples a second with the loader running."""
    grid = bench.architecture().grid()
    sample = labelled(bench.pair, 0.0, grid)
    sweeps = [(sample.points0, sample.points1)[t % 2] for t in range(SWEEPS)]
    labels = [(sample.labels0, sample.labels1)[t % 2] for t in range(SWEEPS)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number in range(4):
            write_log(folder, f"log{number}", sweeps, labels)
        logs = open_logs(
            folder / "frames", folder / "ground", folder / "clusters", "clusters", [f"log{n}" for n in range(4)]
        )
        return [*_reading(bench, logs, grid), *_running(bench, logs, grid, training)]


def _reading(bench: Bench, logs: list[TrainLog], grid: Any) -> list[dict[str, Any]]:
    """As a worker of the loader reads, on one thread."""
    log, dataset = logs[0], PairDataset(logs, [(0, t) for t in range(SWEEPS - 1)], grid, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pair, sample = on_cpu(lambda: read_pair(log.frames, log.ground, 0), 100), on_cpu(lambda: dataset[(0, 0)], 100)
    torch.set_num_threads(threads)
    told = {"points": len(log.frames.xyz(0)), "cpu": cpu_name(1)}
    return [bench.row("read_pair", pair, "ms", **told), bench.row("read_sample", sample, "ms", **told)]


def _running(bench: Bench, logs: list[TrainLog], grid: Any, training: Callable[..., Any]) -> list[dict[str, Any]]:
    """Steps that wait for the loader against steps on a batch that is there."""
    cores = len(os.sched_getaffinity(0))
    workers = min(8, cores) if bench.device == "cuda" else 0  # as a training
    data = PairData(logs, grid, 42, bench.copies, 0.0, 64, None, workers, bench.device)
    module, step = training(bench, bench.architecture(), "bf16", False)
    optimiser = torch.optim.AdamW(module.network.parameters(), lr=2e-4, fused=bench.device == "cuda")
    step()
    loader, device = data.train_dataloader(), torch.device(bench.device)
    rounds = 4 if bench.device == "cuda" else 1
    seconds, samples = 0.0, 0
    for round in range(rounds + 1):
        loader.sampler.set_epoch(round)
        start = time.perf_counter()
        for number, batch in enumerate(loader):
            if bench.device == "cpu" and number == 1:
                break
            optimiser.zero_grad(set_to_none=True)
            module.losses(module.network, batch_or_raise(batch).to(device))["loss"].backward()
            torch.nn.utils.clip_grad_norm_(module.network.parameters(), CLIP)
            optimiser.step()
            samples += bench.copies if round else 0
        if bench.device == "cuda":
            torch.cuda.synchronize()
        seconds += (time.perf_counter() - start) if round else 0.0  # workers start in the first round
    rate = samples / seconds
    alone = float(np.median(bench.times(step)))
    busy = 100 * rate / bench.copies * alone / 1e3
    told = {"workers": workers, "cores": cores}
    return [
        bench.row("end_to_end", [rate], "samples/s", **told),
        bench.row("device_busy", [min(busy, 100.0)], "%", **told),
    ]
