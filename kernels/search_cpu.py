# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbour on the CPU: a k-d tree proposes candidates, the stated distance decides among them.

The tree compares distances in float64, the answer is defined by `(dx² + dy²) + dz²` in the dtype of the points. The two
differ by a few units in the last place, so every candidate within that margin of the tree's best is measured again.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

Array = NDArray[Any]
Found = TypeVar("Found")

# A float32 squared distance is off by at most five roundings of 2⁻²⁴, so two points whose float32 values are equal
# differ by less than 6e-7 in distance. Twice that, and an absolute margin below which float32 squares underflow.
MARGIN = 1.5e-6
UNDERFLOW = 1e-18
CANDIDATES = (2, 8, 64)  # how many to ask for before the ball query takes over
MULTIPLE = 16  # equal target points beyond which the tree is built without repeats
BALL_ROWS = 256  # queries whose balls are taken at once
BALL_POINTS = 2048  # in a ball; beyond it, measuring all target points is cheaper than listing those of the ball
PAIRS = 2**21  # distances held at once where all are measured, some 30 bytes each
LISTED = 2**19  # candidates held at once, some 50 bytes each


def side_by_side(first: Callable[[], Found], second: Callable[[], Found]) -> tuple[Found, Found]:
    """Both results, at once where torch may use two threads: building a tree and much of NumPy keep to one."""
    if torch.get_num_threads() < 2:
        return first(), second()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(second)
        return first(), other.result()


class TreeSearch:
    """K-d trees over the samples of a ragged target, built once and queried many times."""

    def __init__(self, target: Tensor, offsets: list[int]) -> None:
        points = target.detach().numpy()
        spans = zip(offsets, offsets[1:], strict=False)
        self.trees = [_Tree(points[start:end], start) for start, end in spans]
        self.dtype = points.dtype

    def nearest(self, query: Tensor, offsets: list[int], cap: float | None) -> tuple[Tensor, Tensor]:
        """Return index (N,) int64 into the concatenated target and squared distance (N,), -1 and infinity if none."""
        points = query.detach().numpy()
        limit = self.dtype.type(np.inf if cap is None else min(cap * cap, float(np.finfo(self.dtype).max)))
        index = np.full(len(points), -1, dtype=np.int64)
        distance = np.full(len(points), np.inf, dtype=self.dtype)
        for tree, start, end in zip(self.trees, offsets, offsets[1:], strict=False):
            rows = start + np.flatnonzero(np.isfinite(points[start:end]).all(axis=1))
            if len(rows) and len(tree.points):
                index[rows], distance[rows] = tree.nearest(points[rows], limit)
        return torch.from_numpy(index), torch.from_numpy(distance)


class _Tree:
    """The finite points of one sample and the tree over them."""

    def __init__(self, points: Array, first_row: int) -> None:
        rows = np.flatnonzero(np.isfinite(points).all(axis=1))
        points = points[rows]
        if _repeats(points):
            points, kept = np.unique(points, axis=0, return_index=True)
            rows = rows[kept]
        self.points = points  # (M, 3)
        self.rows = first_row + rows  # (M,)
        # Balanced trees take twice as long to build and are no faster to query.
        self.tree = cKDTree(points.astype(np.float64), balanced_tree=False)

    def nearest(self, query: Array, limit: Any) -> tuple[Array, Array]:
        index = np.full(len(query), -1, dtype=np.int64)
        distance = np.full(len(query), np.inf, dtype=query.dtype)
        radius = _loosened(np.sqrt(np.float64(limit)))
        todo = np.arange(len(query))
        for count in CANDIDATES:
            count, open_rows = min(count, len(self.points)), []
            for start in range(0, len(todo), LISTED // count):
                rows = todo[start : start + LISTED // count]
                found, column = self._candidates(query[rows], count, radius)
                bound = _loosened(found[:, :1])
                index[rows], distance[rows] = self._decide(query[rows], column, found <= bound)
                open_rows.append(rows[(found[:, -1] <= bound[:, 0]) & np.isfinite(found[:, -1])])
            todo = np.concatenate(open_rows) if count < len(self.points) else todo[:0]
            if not len(todo):
                break
        if len(todo):
            index[todo], distance[todo] = self._crowded(query[todo])
        none = ~(distance <= limit) | ~np.isfinite(distance)
        index[none], distance[none] = -1, np.inf
        return index, distance

    def _candidates(self, query: Array, count: int, radius: float) -> tuple[Array, Array]:
        found, column = self.tree.query(query, k=count, distance_upper_bound=radius, workers=torch.get_num_threads())
        return found.reshape(len(query), count), column.reshape(len(query), count)

    def _decide(self, query: Array, column: Array, near: Array) -> tuple[Array, Array]:
        """Among candidates `column` (n, k) that are `near`, take the least distance, then the lowest row."""
        near = near & (column < len(self.points))
        column = np.where(near, column, 0)
        distance = np.where(near, squared_distance(query[:, None], self.points[column]), np.inf)
        distance = distance.astype(query.dtype, copy=False)
        best = distance.min(axis=1)
        rows = np.where(near & (distance == best[:, None]), self.rows[column], np.iinfo(np.int64).max)
        return rows.min(axis=1), best

    def _crowded(self, query: Array) -> tuple[Array, Array]:
        """More near-ties than the largest candidate list: take the whole ball, once for each distinct query."""
        distinct, inverse = np.unique(query, axis=0, return_inverse=True)
        index = np.empty(len(distinct), dtype=np.int64)
        distance = np.empty(len(distinct), dtype=query.dtype)
        for start in range(0, len(distinct), BALL_ROWS):
            part = distinct[start : start + BALL_ROWS]
            radius, rows = _loosened(self.tree.query(part, k=1)[0]), np.arange(start, start + len(part))
            workers = torch.get_num_threads()
            points = self.tree.query_ball_point(part, radius, return_length=True, workers=workers)
            few, many = points <= BALL_POINTS, points > BALL_POINTS
            balls = self.tree.query_ball_point(part[few], radius[few], workers=workers)
            for row, ball in zip(rows[few], balls, strict=True):
                column = np.asarray(ball, dtype=np.int64)[None]
                best = self._decide(distinct[row][None], column, np.ones_like(column, dtype=bool))
                index[row], distance[row] = best[0][0], best[1][0]
            index[rows[many]], distance[rows[many]] = self._measure_all(part[many])
        inverse = inverse.reshape(-1)
        return index[inverse], distance[inverse]

    def _measure_all(self, query: Array) -> tuple[Array, Array]:
        """Every pair, a limited number at a time: time grows with queries times points, memory does not."""
        index = np.empty(len(query), dtype=np.int64)
        distance = np.empty(len(query), dtype=query.dtype)
        step = max(1, PAIRS // len(self.points))
        for start in range(0, len(query), step):
            rows = slice(start, start + step)
            squared = squared_distance(query[rows, None], self.points)
            distance[rows] = squared.min(axis=1)
            lowest = np.where(squared == distance[rows, None], self.rows, np.iinfo(np.int64).max)
            index[rows] = lowest.min(axis=1)
        return index, distance


def squared_distance(query: Array, target: Array) -> Array:
    """The distance that defines the answer: `(dx² + dy²) + dz²`, each step rounded to the dtype given."""
    with np.errstate(over="ignore", under="ignore"):
        x, y, z = (np.square(query[..., axis] - target[..., axis]) for axis in range(3))
        distance: Array = (x + y) + z
    return distance


def _loosened(distance: Any) -> Any:
    return distance * (1 + MARGIN) + UNDERFLOW


def _repeats(points: Array) -> bool:
    """Whether some point occurs so often that it would make one huge leaf (by hash: a false alarm only costs time)."""
    if len(points) <= MULTIPLE:
        return False
    bits = np.ascontiguousarray(points + 0.0).view(np.uint32 if points.dtype == np.float32 else np.uint64)
    x, y, z = bits.astype(np.uint64).T
    keys = (
        (x * np.uint64(0x9E3779B97F4A7C15)) ^ (y * np.uint64(0xC2B2AE3D27D4EB4F)) ^ (z * np.uint64(0x165667B19E3779F9))
    )
    keys.sort()
    return bool((keys[MULTIPLE:] == keys[:-MULTIPLE]).any())
