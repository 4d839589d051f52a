# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Times the kernels side by side with others: `python -m tests.kernels.benchmark [metrics/benchmarks/kernels.json]`.

AV2_ROOT must hold pair_88k.npz; the sweeps below it and below PANDASET_ROOT are taken where they are there.
GPU values are medians of the time between CUDA events around calls that wait in the GPU's queue: what the GPU takes,
whatever the host. `_host` rows are what the host takes to queue the same call, `_graph` rows replays of it in a CUDA
graph; a rival that waits for the GPU by itself is timed with its waits. CPU values are wall clock. A row with "failed"
has no value and says why.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from kernels import Search, nearest_both, truncated_chamfer
from tests.kernels.clouds import offsets_of
from tests.kernels.rivals import RADIUS, RIVALS
from tests.kernels.scenes import Scene, batch, scene, scenes
from tests.kernels.timing import cpu_name, failed, in_graph, on_cpu, on_gpu, on_host, row, shown, write_rows
from tests.pair import stored_pair

Rows = list[dict[str, Any]]
FIRST_CALL = """
import time, torch
a = torch.rand(1000, 3, device="cuda"); o = torch.tensor([0, 1000]); (a + 1).sum().item(); torch.cuda.synchronize()
import kernels
start = time.perf_counter()
kernels.nearest_both(a, a, o, o, 2.0); torch.cuda.synchronize()
print((time.perf_counter() - start) * 1e3)
"""


def measured(case: str, times: Callable[[], list[float]], device: str, **more: Any) -> dict[str, Any]:
    """The row of a case, also where it could not be timed: the others are still measured."""
    try:
        return row(case, times(), "ms", device, **more)
    except RuntimeError as error:
        return failed(case, "ms", device, error)


def search_rows(device: str, a: Tensor, b: Tensor) -> Iterator[dict[str, Any]]:
    for name, given in scenes(a, b).items():
        repeats = 50 if given.a.shape[0] > 500_000 or name.startswith("hard") else 200

        def call(given: Scene = given) -> object:
            return nearest_both(*given)

        points = {"points": [given.a.shape[0], given.b.shape[0]]}
        yield measured(name, partial(on_gpu, call, repeats), device, **points)
        yield measured(f"{name}_graph", partial(in_graph, call, repeats), device, **points)
        if name == "nearest_both_b1_cap2":
            yield measured(f"{name}_host", partial(on_host, call), device, **points)


def chamfer_rows(device: str, a: Tensor, b: Tensor) -> Iterator[dict[str, Any]]:
    for name, given in {"b1": scene(a, b), "b16": batch(a, b, 16)}.items():
        cloud = given.a.requires_grad_()
        both = given.b.clone().requires_grad_()
        search = Search(given.b, given.b_offsets)
        ones = torch.ones(len(given.a_offsets) - 1, device="cuda")

        def step(
            b: Tensor, ready: Search | None = None, given: Scene = given, cloud: Tensor = cloud, ones: Tensor = ones
        ) -> None:
            loss = truncated_chamfer(cloud, b, given.a_offsets, given.b_offsets, 2.0, ready)
            torch.autograd.grad(loss, [x for x in (cloud, b) if x.requires_grad], ones)

        def prepared(given: Scene = given, search: Search = search, cloud: Tensor = cloud) -> object:
            return search.nearest(cloud, given.a_offsets, 2.0)

        calls = {
            f"chamfer_fwd_bwd_{name}": lambda step=step, given=given: step(given.b),
            f"chamfer_fwd_bwd_both_gradients_{name}": lambda step=step, both=both: step(both),
            f"chamfer_fwd_bwd_prepared_{name}": lambda step=step, given=given, search=search: step(given.b, search),
            f"prepared_search_one_way_{name}": prepared,
        }
        for case, call in calls.items():
            yield measured(case, partial(on_gpu, call), device)
            yield measured(f"{case}_graph", partial(in_graph, call), device)
            if name == "b1":
                yield measured(f"{case}_host", partial(on_host, call), device)


def rival_rows(device: str, a: Tensor, b: Tensor) -> Iterator[dict[str, Any]]:
    """Each on the pair, both ways, given out as it ends; one that does not run says why in its row."""
    given = scene(a, b)
    own = nearest_both(*given)
    for name, make in RIVALS.items():
        try:
            call = make(given.a, given.b)
            found = call()
            close = [
                float(torch.isclose(within(x.squared_distance), within(y.float()), rtol=1e-4, atol=1e-6).float().mean())
                for x, y in zip(own, found, strict=True)
            ]
            yield row(f"rival_{name}", on_gpu(call, 5, warm=1), "ms", device, same_distance=round(min(close), 5))
        except Exception as error:
            yield failed(f"rival_{name}", "ms", device, error)


def within(squared: Tensor) -> Tensor:
    """Squared distances, infinite beyond the radius."""
    return squared.masked_fill(squared > RADIUS**2, float("inf"))


def cpu_rows(a: Tensor, b: Tensor) -> Rows:
    offsets = offsets_of(len(a)), offsets_of(len(b))
    rows = []
    for threads in sorted({2, torch.get_num_threads()}):
        torch.set_num_threads(threads)
        device = cpu_name(threads)
        rows.append(row(f"cpu_nearest_both_{threads}", on_cpu(lambda: nearest_both(a, b, *offsets, 2.0)), "ms", device))

        def scipy_both(threads: int = threads) -> None:
            for query, target in ((a, b), (b, a)):
                cKDTree(target.numpy()).query(query.numpy(), workers=threads, distance_upper_bound=2.0)

        rows.append(row(f"rival_scipy_{threads}", on_cpu(scipy_both), "ms", device))
    return rows


def first_call_rows(device: str) -> Rows:
    """In fresh processes, torch's own start-up left out: an empty cache on disk, then a filled one."""
    import os

    samples: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"SCENEFLOW_KERNEL_CACHE": folder}
            for kind in samples:
                run = subprocess.run(
                    [sys.executable, "-c", FIRST_CALL], env=environment, capture_output=True, text=True, check=True
                )
                samples[kind].append(float(run.stdout))
    return [row(f"first_call_{kind}", values, "ms", device) for kind, values in samples.items()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kernels.benchmark", description=__doc__)
    parser.add_argument("output", type=Path, nargs="?", help="file to write; rows of other cases in it stay")
    parser.add_argument("--only", nargs="+", choices=("search", "chamfer", "first_call", "rivals", "cpu"))
    given = parser.parse_args()
    try:
        a, b = (torch.from_numpy(points) for points in stored_pair())
    except FileNotFoundError as error:
        sys.exit(f"error: {error} (docs/nearest-neighbour.md)")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    groups: dict[str, Callable[[], Iterable[dict[str, Any]]]] = {
        "search": lambda: search_rows(device, a, b),
        "chamfer": lambda: chamfer_rows(device, a, b),
        "first_call": lambda: first_call_rows(device),
        "rivals": lambda: rival_rows(device, a, b),
        "cpu": lambda: cpu_rows(a, b),
    }
    rows: Rows = []
    for name in given.only or groups:
        for found in groups[name]():
            rows.append(found)
            print(shown(found), flush=True)
            write_rows(given.output, rows)


if __name__ == "__main__":
    main()
