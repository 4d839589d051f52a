# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Other ways to the same answer, both directions, trees included: squared distances, or the error that forbids it.

Where a tree takes a radius it is `RADIUS`; what is further away counts as not found.

cupy-knn 0.4.0 asks for C++11, which the headers of CUDA 13 refuse: its `--std` must be raised to c++17 to run it there.
KeOps 2.3 is not among them: there it ends the process (segmentation fault) once its kernel is compiled.
"""

import struct
from collections.abc import Callable

import torch
from torch import Tensor

from kernels.cuda.build import compile_source
from kernels.cuda.driver import Launcher, load
from kernels.cuda.layout import SHAPE

Both = Callable[[], tuple[Tensor, Tensor]]
RADIUS = 2.0  # m, of `nearest_both_b1_cap2`

BRUTE = r"""
extern "C" __global__ void brute(const float* q, const float* t, int n, int m, float* distance, long long* index) {
    __shared__ float tile[256][3];
    int i = blockIdx.x * 256 + threadIdx.x, best = -1;
    float x = 0, y = 0, z = 0, least = 1e38f;
    if (i < n) { x = q[i * 3]; y = q[i * 3 + 1]; z = q[i * 3 + 2]; }
    for (int from = 0; from < m; from += 256) {
        int count = min(256, m - from);
        __syncthreads();
        for (int k = threadIdx.x; k < count * 3; k += 256) (&tile[0][0])[k] = t[from * 3 + k];
        __syncthreads();
        #pragma unroll 8
        for (int k = 0; k < count; k++) {
            float dx = x - tile[k][0], dy = y - tile[k][1], dz = z - tile[k][2];
            float d = (dx * dx + dy * dy) + dz * dz;
            if (d < least) { least = d; best = from + k; }
        }
    }
    if (i < n) { distance[i] = least; index[i] = best; }
}
"""


def brute_force(a: Tensor, b: Tensor) -> Both:
    """Every pair, tiles in shared memory, one thread a query: what the published kernel does."""
    arch = "sm_{}{}".format(*torch.cuda.get_device_capability(a.device))
    launch = Launcher(a.device, load(compile_source(BRUTE, arch, SHAPE), arch, ("brute",)))

    def one(query: Tensor, target: Tensor) -> Tensor:
        distance = torch.empty(len(query), device=query.device)
        index = torch.empty(len(query), dtype=torch.int64, device=query.device)
        launch("brute", -(-len(query) // 256), 1, 256, *brute_arguments(query, target, distance, index))
        return distance

    return lambda: (one(a, b), one(b, a))


def brute_arguments(query: Tensor, target: Tensor, distance: Tensor, index: Tensor) -> list[bytes]:
    """What the kernel takes, one after the other."""
    pointers = [struct.pack("<Q", tensor.data_ptr()) for tensor in (query, target, distance, index)]
    sizes = [struct.pack("<i", len(tensor)) for tensor in (query, target)]
    return pointers[:2] + sizes + pointers[2:]


def torch_cdist(a: Tensor, b: Tensor) -> Both:
    """`torch.cdist` in strips, as a product of matrices: not exact. Its exact form is far slower."""

    def one(query: Tensor, target: Tensor) -> Tensor:
        return torch.cat([torch.cdist(strip, target).amin(1) for strip in query.split(8192)]) ** 2

    return lambda: (one(a, b), one(b, a))


def cupy_knn(a: Tensor, b: Tensor) -> Both:
    """Bounding-volume hierarchy of cupy-knn."""
    import cupy
    from cupy_knn import LBVHIndex

    def one(query: Tensor, target: Tensor) -> Tensor:
        tree = LBVHIndex(leaf_size=32, compact=True, shrink_to_fit=False, sort_queries=True)
        tree.build(cupy.from_dlpack(target.detach()))
        tree.prepare_knn_default(1, radius=RADIUS)
        _, distance, _ = tree.query_knn(cupy.from_dlpack(query.detach()))
        return torch.from_dlpack(distance).squeeze(1)

    return lambda: (one(a, b), one(b, a))


def cupyx_tree(a: Tensor, b: Tensor) -> Both:
    """CuPy's own k-d tree."""
    import cupy
    from cupyx.scipy.spatial import KDTree

    def one(query: Tensor, target: Tensor) -> Tensor:
        tree = KDTree(cupy.from_dlpack(target.detach()))
        distance, _ = tree.query(cupy.from_dlpack(query.detach()), k=1, distance_upper_bound=RADIUS)
        return torch.from_dlpack(distance) ** 2

    return lambda: (one(a, b), one(b, a))


RIVALS: dict[str, Callable[[Tensor, Tensor], Both]] = {
    "brute_force_own": brute_force,
    "torch_cdist": torch_cdist,
    "cupy_knn": cupy_knn,
    "cupyx_kdtree": cupyx_tree,
}
