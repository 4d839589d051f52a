# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Times training and inference: `python -m tests.models.benchmark [metrics/benchmarks/training.json]`.

AV2_ROOT must hold pair_88k.npz. The pair is cut to the published grid; a batch is copies of it, each turned about z.
A step is forward, loss, backward, clipping and optimiser; its value is the median between CUDA events of steps that are
queued one after the other, wall clock on a CPU. Labels are a stand-in: `CLUSTERS` blobs of nearest points and some lone
points, a stated number of each. Beside torch it needs numpy, scipy, h5py, pyarrow, safetensors and lightning.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.architecture import Architecture
from models.clouds import concatenate
from models.data.samples import Batch, Sample, collate
from models.device import device_name, prepare
from models.grid import Grid
from models.replay import replay_unet
from models.training.compiled import can_compile, compile_network
from models.training.module import FlowTraining
from tests.kernels.timing import cpu_name, failed, on_cpu, on_gpu, row, shown, write_rows
from tests.models.loading import CLIP, loading_rows
from tests.models.profile import profile_rows
from tests.models.recipe import training_parameters
from tests.pair import stored_pair

Rows = list[dict[str, Any]]
PUBLISHED = (-51.2, -51.2, -3.0, 51.2, 51.2, 3.0)
CLUSTERS, CLUSTER, LONE = 40, 80, 800  # clusters of a sweep, points of each, dynamic points without cluster


class Bench:
    """The batch, and how to time on this device."""

    def __init__(self, device: str, copies: int, voxel: float, thin: int, repeats: int) -> None:
        self.device, self.copies, self.voxel, self.repeats = device, copies, voxel, repeats
        self.name = device_name(device) if device == "cuda" else cpu_name(torch.get_num_threads())
        self.pair = [points[::thin] for points in stored_pair()]
        grid = self.architecture().grid()
        self.samples = [labelled(self.pair, 2 * np.pi * copy / 16, grid) for copy in range(copies)]
        self.batch = self.batch_of(copies)

    def batch_of(self, copies: int) -> Batch:
        samples = [self.samples[number % len(self.samples)] for number in range(copies)]
        return collate(samples, minimum_dynamic=64).to(torch.device(self.device))

    def architecture(self, kind: Any = "deflow", iterations: int = 2) -> Architecture:
        return Architecture(kind, PUBLISHED, self.voxel, 32, iterations)

    def times(self, call: Callable[[], Any]) -> list[float]:
        return on_gpu(call, self.repeats) if self.device == "cuda" else on_cpu(call, max(1, self.repeats // 20))

    def row(self, case: str, samples: list[float], unit: str, **more: Any) -> dict[str, Any]:
        return row(case, samples, unit, self.name, **more)


def turned(points: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    c, s = np.cos(angle), np.sin(angle)
    return (points @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])).astype(np.float32)


def labelled(pair: list[NDArray[np.float32]], angle: float, grid: Grid) -> Sample:
    """The pair turned, cut, with stand-in labels: the same blobs around the same places in both sweeps."""
    clouds = [turned(points, angle) for points in pair]
    clouds = [points[grid.inside(torch.from_numpy(points)).numpy()] for points in clouds]
    labels = [stand_in(clouds[0], points) for points in clouds]
    return Sample(clouds[0], clouds[1], labels0=labels[0], labels1=labels[1])


def stand_in(seeds_of: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.int16]:
    from scipy.spatial import cKDTree

    random = np.random.default_rng(0)
    seeds = seeds_of[random.choice(len(seeds_of), CLUSTERS, replace=False)]
    label = np.zeros(len(points), dtype=np.int16)
    label[random.choice(len(points), min(LONE, len(points) // 20), replace=False)] = 1
    size = min(CLUSTER, len(points) // (4 * CLUSTERS))
    for number, rows in enumerate(cKDTree(points).query(seeds, size)[1].reshape(CLUSTERS, -1)):
        label[rows] = 2 + number
    return label


def training(
    bench: Bench, architecture: Architecture, precision: str, compiled: bool, batch: Batch | None = None
) -> tuple[FlowTraining, Any]:
    """A network on the device and one step of its training."""
    torch.manual_seed(0)
    batch = batch or bench.batch
    module = FlowTraining(training_parameters(architecture, precision, bench.copies)).to(bench.device).train()
    if compiled:
        compile_network(module.network)
    fused = bench.device == "cuda"
    optimiser = torch.optim.AdamW(module.network.parameters(), lr=2e-4, weight_decay=0.0, fused=fused)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        module.losses(module.network, batch)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.network.parameters(), CLIP)
        optimiser.step()

    return module, step


def step_rows(bench: Bench, case: str, architecture: Architecture, precision: str, compiled: bool) -> Rows:
    """Time of a step, and the most memory that torch held in it."""
    _, step = training(bench, architecture, precision, compiled)
    step()
    if bench.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    how = {
        "precision": precision,
        "compiled": compiled,
        "points": [len(bench.batch.cloud0.points), len(bench.batch.cloud1.points)],
        "labels": f"{CLUSTERS} clusters of {CLUSTER} points and {LONE} dynamic points without, a sweep",
    }
    rows = [bench.row(case, bench.times(step), "ms", **how)]
    if bench.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
        rows.append(bench.row(f"{case}_peak_gib", [peak], "GiB", precision=precision, compiled=compiled))
    return rows


def memory_rows(bench: Bench) -> Rows:
    """The most memory of a step by batch, network and precision; where it does not fit the row says so.

    Not of the first step, which tries ways to convolve with as much memory as is free and then gives it back.
    """
    if bench.device != "cuda":
        return []
    rows: Rows = []
    for kind, precision, copies in itertools.product(("deflow", "fastflow3d"), ("bf16", "fp32"), (1, 2, 4, 8, 16, 32)):
        case = f"memory_{kind}_{precision}_b{copies}"
        torch.cuda.empty_cache()
        try:
            batch = bench.batch_of(copies)
            _, step = training(bench, bench.architecture(kind, 2), precision, False, batch)
            step()
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            step()
            rows.append(bench.row(case, [torch.cuda.max_memory_allocated() / 2**30], "GiB"))
        except torch.OutOfMemoryError as error:
            rows.append(failed(case, "GiB", bench.name, error))
    return rows


def no_sync_rows(bench: Bench, precision: str) -> Rows:
    """Whether a step waits for the device: torch raises where it does."""
    if bench.device != "cuda":
        return []
    _, step = training(bench, bench.architecture(), precision, compiled=False)
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.cuda.synchronize()
    return [bench.row("host_waits_in_a_step", [0.0], "count")]


def inference_rows(bench: Bench) -> Rows:
    """From raw points on the device, cut there, to flow; queued one after the other, and waited for (latency)."""
    from models.inference import flow_of_all

    clouds = [concatenate([torch.from_numpy(points)]).to(torch.device(bench.device)) for points in bench.pair]
    rows: Rows = []
    cuda = bench.device == "cuda"
    for compiled in [False, True] if cuda and can_compile() else [False]:
        for precision, replayed in itertools.product(("fp32", "bf16"), [False, True] if cuda else [False]):
            torch.manual_seed(0)
            network = bench.architecture().build().to(bench.device, memory_format=torch.channels_last).eval()
            network.precision = precision
            if compiled:
                compile_network(network)
            if replayed:
                replay_unet(network)

            def call(network: Any = network) -> Any:
                with torch.inference_mode():
                    return flow_of_all(network, clouds)

            def waited(call: Callable[[], Any] = call) -> float:
                return float(call()[0].sum())

            name = f"inference_b1_{precision}{'_compiled' * compiled}{'_replayed' * replayed}"
            rows.append(bench.row(name, bench.times(call), "ms", points=[len(c.points) for c in clouds]))
            rows.append(bench.row(f"{name}_latency", on_cpu(waited, max(2, bench.repeats // 4)), "ms"))
    return rows


def precision_rows(bench: Bench, steps: int) -> Rows:
    """How far the flow of the pair by briefly trained weights is apart in bf16 and fp32."""
    module, step = training(bench, bench.architecture(), "bf16", compiled=False)
    for _ in range(steps):
        step()
    network = module.network.eval()
    first = collate([labelled(bench.pair, 0.0, bench.architecture().grid())], 64).to(torch.device(bench.device))
    flows = []
    for precision in ("fp32", "bf16"):
        network.precision = precision
        with torch.no_grad():
            flows.append(network(first.cloud0, first.cloud1))
    difference = (flows[1] - flows[0]).norm(dim=1)
    trained = {"steps": steps, "mean_flow_m": float(flows[0].norm(dim=1).mean())}
    return [
        bench.row("bf16_difference_mean", [float(difference.mean())], "m", **trained),
        bench.row("bf16_difference_largest", [float(difference.max())], "m", **trained),
    ]


def cases(bench: Bench) -> list[tuple[str, Callable[[], Rows]]]:
    """Each part of the benchmark by name."""
    b, compiled = bench.copies, bench.device == "cuda" and can_compile()

    def steps(case: str, kind: str, iterations: int, precision: str, compiled: bool) -> tuple[str, Callable[[], Rows]]:
        return case, lambda: step_rows(bench, case, bench.architecture(kind, iterations), precision, compiled)

    found = [
        ("no_sync", lambda: no_sync_rows(bench, "bf16")),
        steps(f"seflow_step_b{b}", "deflow", 2, "bf16", compiled),
        steps(f"seflow_step_b{b}_eager", "deflow", 2, "bf16", False),
        steps(f"seflow_step_b{b}_fp32", "deflow", 2, "fp32", compiled),
        steps(f"fastflow3d_step_b{b}", "fastflow3d", 1, "bf16", compiled),
        steps(f"deflow4_step_b{b}", "deflow", 4, "bf16", compiled),
        ("inference", lambda: inference_rows(bench)),
        ("profile", lambda: profile_rows(bench, training)),
        ("precision", lambda: precision_rows(bench, bench.repeats)),
        ("memory", lambda: memory_rows(bench)),
        ("loading", lambda: loading_rows(bench, training, labelled)),
    ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.models.benchmark", description=__doc__)
    parser.add_argument("output", type=Path, nargs="?", help="file to write; rows of other cases in it stay")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--voxel", type=float, default=0.2, help="side of a pillar, m")
    parser.add_argument("--thin", type=int, default=1, help="take every n-th point")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--only", nargs="+", help="names of parts, or beginnings of them")
    given = parser.parse_args()
    prepare(given.device)
    try:
        bench = Bench(given.device, given.batch, given.voxel, given.thin, given.repeats)
    except FileNotFoundError as error:
        sys.exit(f"error: {error} (docs/training.md, Figures)")
    rows: Rows = []
    for name, part in cases(bench):
        if given.only and not any(name.startswith(wanted) for wanted in given.only):
            continue
        start = time.perf_counter()
        try:
            rows += part()
        except Exception as error:  # a part that fails says so in its row, and the others are still measured
            rows.append(failed(name, "", bench.name, error))
        if given.device == "cuda":
            torch.cuda.empty_cache()
        sys.stderr.write(f"{name}: {time.perf_counter() - start:.1f} s\n")
        write_rows(given.output, rows)
    for found in rows:
        print(shown(found))


if __name__ == "__main__":
    main()
