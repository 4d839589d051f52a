# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Exact nearest neighbour between ragged batches of 3-D clouds, on the CPU and on CUDA devices.

A batch is its clouds one after the other, points (N, 3), and offsets (B+1,) int64 on the CPU: sample i holds the rows
`offsets[i]` to `offsets[i+1] - 1`. A query only meets target points of its own sample.

The squared distance is `(dx² + dy²) + dz²` in the points' dtype, each step rounded, no fused multiply-add; of equal
values the lowest row wins. So the answer is one and the same on every device, in every run, whatever else the batch
holds.
A query that is not finite finds nothing; a target point that is not finite is never found.
"""

from typing import TYPE_CHECKING, NamedTuple, NoReturn

from torch import Tensor

from kernels.arguments import check_all, check_cap, check_cloud, check_offsets, check_pair
from kernels.search_cpu import TreeSearch, side_by_side

if TYPE_CHECKING:
    from kernels.cuda.tree import BoxSearch


class Nearest(NamedTuple):
    """Answer of a search: for each query the row of its nearest target point and how far it is.

    Attributes:
        index: (N,) int64, row of the concatenated target (not of the sample), -1 where there is none within the cap.
        squared_distance: (N,) m², dtype of the points, infinity where there is none. Carries no gradient: gather by
            `index` for one.
    """

    index: Tensor  # type: ignore[assignment]  # (N,); hides tuple.index
    squared_distance: Tensor  # (N,)


class Search:
    """A target prepared once and queried many times.

    Args:
        target: (M, 3) metres, contiguous; float32, on the CPU also float64. Must not change while it is searched:
            a change in place is noticed where torch counts it (not through NumPy, `.data` or in inference mode). A GPU
            searches it on the stream that made it; for another stream, let that one wait and keep this alive. A CUDA
            graph that searches it needs it alive, and the target unchanged, for as long as it is replayed.
        target_offsets: (B+1,) int64 on the CPU, from 0 to M, never falling.

    Raises:
        TypeError: a wrong type or dtype.
        ValueError: a wrong shape, device, stride or offsets; the text says what was given.
        RuntimeError: CUDA tensors, and the kernels cannot be built on this machine; the text says why.
    """

    def __init__(self, target: Tensor, target_offsets: Tensor) -> None:
        check_cloud(target, "target")
        self.offsets = check_offsets(target_offsets, target.shape[0], "target_offsets")
        self.target = target.detach()
        self.changes = _changes(self.target)
        self.prepared = _prepare(self.target, self.offsets)

    def belongs_to(self, target: Tensor, target_offsets: list[int]) -> bool:
        """Whether this search was made from that very tensor, cut into the same samples."""
        kind = (target.data_ptr(), target.shape, target.dtype, target.device)
        own = (self.target.data_ptr(), self.target.shape, self.target.dtype, self.target.device)
        return own == kind and self.offsets == target_offsets

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """A search holds addresses of its own memory, so it is neither copied nor sent: TypeError."""
        raise TypeError("a Search cannot be copied or pickled: make another from the target")

    def check_unchanged(self) -> None:
        """Raise ValueError if the target was changed in place since this search was made."""
        if _changes(self.target) != self.changes:
            raise ValueError("the target was changed in place after this search was made: make another Search")

    def nearest(self, query: Tensor, query_offsets: Tensor, cap: float | None = None) -> Nearest:
        """Find for each query its nearest point of the target.

        Args:
            query: (N, 3) metres, same dtype and device as the target.
            query_offsets: (B+1,) int64 on the CPU, as many samples as the target.
            cap: metres; a point further away (its squared distance over the squared cap) is not found. None: no limit.

        Returns:
            Index and squared distance for each query, see `Nearest`.

        Raises:
            TypeError, ValueError, RuntimeError: as `nearest`; ValueError too if the target was changed in place.
        """
        self.check_unchanged()
        check_cloud(query, "query")
        offsets = check_offsets(query_offsets, query.shape[0], "query_offsets")
        check_pair(query, self.target, offsets, self.offsets, ("query", "target"))
        return Nearest(*self.prepared.nearest(query, offsets, check_cap(cap)))


def nearest(
    query: Tensor, target: Tensor, query_offsets: Tensor, target_offsets: Tensor, cap: float | None = None
) -> Nearest:
    """Find for each query point its nearest target point of the same sample.

    Args:
        query: (N, 3) metres, contiguous; float32, on the CPU also float64.
        target: (M, 3) metres, same dtype and device.
        query_offsets: (B+1,) int64 on the CPU, from 0 to N, never falling.
        target_offsets: (B+1,) int64 on the CPU, from 0 to M, never falling.
        cap: metres; a point further away (its squared distance over the squared cap) is not found. None: no limit.

    Returns:
        Index and squared distance for each query, see `Nearest`.

    Raises:
        TypeError: a wrong type or dtype.
        ValueError: a wrong shape, device, stride, offsets or cap; the text says what was given.
        RuntimeError: CUDA tensors, and the kernels cannot be built on this machine; the text says why.
    """
    return _pair((query, target), (query_offsets, target_offsets), cap, ("query", "target"), both=False)[0]


def nearest_both(
    a: Tensor, b: Tensor, a_offsets: Tensor, b_offsets: Tensor, cap: float | None = None
) -> tuple[Nearest, Nearest]:
    """Find the nearest neighbours both ways, from `a` to `b` and from `b` to `a`, in one call.

    Args:
        a: (N, 3) metres, contiguous; float32, on the CPU also float64.
        b: (M, 3) metres, same dtype and device.
        a_offsets: (B+1,) int64 on the CPU, from 0 to N, never falling.
        b_offsets: (B+1,) int64 on the CPU, from 0 to M, never falling.
        cap: metres; a point further away (its squared distance over the squared cap) is not found. None: no limit.

    Returns:
        For each point of `a` its neighbour in `b`, and for each point of `b` its neighbour in `a`.

    Raises:
        TypeError, ValueError, RuntimeError: as `nearest`.
    """
    a_to_b, b_to_a = _pair((a, b), (a_offsets, b_offsets), cap, ("a", "b"), both=True)
    return a_to_b, b_to_a


def _changes(target: Tensor) -> int:
    """How often a tensor and its views were changed in place; torch does not count for inference tensors."""
    return 0 if target.is_inference() else target._version


def _prepare(target: Tensor, offsets: list[int]) -> "TreeSearch | BoxSearch":
    if not target.is_cuda:
        return TreeSearch(target, offsets)
    from kernels.cuda.tree import BoxSearch

    return BoxSearch(target, offsets)


def _pair(
    clouds: tuple[Tensor, Tensor],
    offsets: tuple[Tensor, Tensor],
    cap: float | None,
    names: tuple[str, str],
    both: bool,
) -> list[Nearest]:
    """Check everything, then search from the first cloud to the second, or both ways."""
    (a, b), (a_rows, b_rows), cap = check_all(clouds, offsets, cap, names)
    if a.is_cuda:
        from kernels.cuda.tree import search_pair

        answers = search_pair(a, b, a_rows, b_rows, cap, both)
        return [Nearest(*answer) for answer in answers.by_cloud()]

    def forth() -> Nearest:
        return Nearest(*TreeSearch(b, b_rows).nearest(a, a_rows, cap))

    def back() -> Nearest:
        return Nearest(*TreeSearch(a, a_rows).nearest(b, b_rows, cap))

    return [*side_by_side(forth, back)] if both else [forth()]
