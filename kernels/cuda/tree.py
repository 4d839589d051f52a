# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes around points in space-filling order: built for whole batches, then searched (docs/nearest-neighbour.md)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kernels.cuda.driver import Launcher
from kernels.cuda.layout import BLOCK, CHUNK, CLOUD, FAN, SHAPE, TAIL, WARPS, Layout, layouts

GREATEST = float(torch.finfo(torch.float32).max)


@dataclass(frozen=True, slots=True)
class Tree:
    """A part of a cloud as the kernels see it."""

    source: Tensor  # (N, 3)
    layout: Layout
    addresses: tuple[int, ...]  # of points, leaves, tiles, supers, table, cursor, place
    tickets: int  # address of one zero for each sample
    memory: tuple[Tensor, ...] = field(repr=False)

    def packed(self, index: int = 0, distance: int = 0) -> bytes:
        """The Cloud struct, with the addresses of its answers."""
        return CLOUD.pack(self.source.data_ptr(), *self.addresses, index, distance, *self.layout.table)


def build(launch: Launcher, clouds: Sequence[tuple[Tensor, Layout]]) -> list[Tree]:
    """Build one or two trees at once. Launches four kernels."""
    device = clouds[0][0].device
    kept = [sum(layout.bytes_kept()) for _, layout in clouds]
    zeroed = [sum(layout.bytes_zeroed()) + 31 & ~31 for _, layout in clouds]
    rows = [layout.rows for _, layout in clouds]
    keep = torch.empty(sum(kept) // 4, dtype=torch.int32, device=device)
    zeros = torch.zeros(sum(zeroed) // 4, dtype=torch.int32, device=device)
    place = torch.empty(2 * sum(rows), dtype=torch.int32, device=device)
    at, zero_at, place_at = keep.data_ptr(), zeros.data_ptr(), place.data_ptr()
    trees = []
    for (source, layout), kept_bytes, zero_bytes in zip(clouds, kept, zeroed, strict=True):
        points, leaves, _ = layout.bytes_kept()
        supers, table, cursor, _ = layout.bytes_zeroed()
        first = (at, at + points, at + points + leaves)
        second = (zero_at, zero_at + supers, zero_at + supers + table)
        tickets = second[2] + cursor
        # Rows count from the start of the whole cloud, memory from the start of this part.
        addresses = (*first, *second, place_at - 8 * layout.first_row)
        trees.append(Tree(source, layout, addresses, tickets, (keep, zeros)))
        at, zero_at, place_at = at + kept_bytes, zero_at + zero_bytes, place_at + 8 * layout.rows
    structs = [tree.packed() for tree in trees]
    clouds_struct = pack(structs[0], structs[-1], 0.0, 0)
    blocks = max(tree.layout.blocks for tree in trees)
    chunks = max(tree.layout.cells for tree in trees) // CHUNK
    launch("count", blocks, len(trees), BLOCK, clouds_struct)
    launch("scan", chunks, len(trees), BLOCK, clouds_struct)
    launch("scatter", blocks, len(trees), BLOCK, clouds_struct)
    launch("arrange", blocks, len(trees), BLOCK, clouds_struct)
    return trees


def pack(first: bytes, second: bytes, limit: float, begin: int) -> bytes:
    """The Clouds struct."""
    return b"".join((first, second, TAIL.pack(limit, begin)))


def search(launch: Launcher, clouds: bytes, layout: Layout, directions: int) -> None:
    """Launch the search over queries laid out as `layout`, or both ways over the larger of two."""
    blocks = layout.blocks * BLOCK * SHAPE.lanes // (FAN * WARPS)
    launch("search", blocks, directions, FAN * WARPS, clouds)


def squared_limit(cap: float | None) -> float:
    """Greatest squared distance that counts, as float32 holds it."""
    return GREATEST if cap is None else min(cap * cap, GREATEST)


class Answers:
    """Index and squared distance for the points of one or two clouds, in one piece of memory each."""

    def __init__(self, rows: Sequence[int], device: torch.device) -> None:
        self.rows = rows
        self.index = torch.empty(sum(rows), dtype=torch.int64, device=device)
        self.distance = torch.empty(sum(rows), dtype=torch.float32, device=device)

    def addresses(self, which: int) -> tuple[int, int]:
        """Of the answers for cloud `which`."""
        skip = sum(self.rows[:which])
        return self.index.data_ptr() + 8 * skip, self.distance.data_ptr() + 4 * skip

    def of(self, which: int) -> tuple[Tensor, Tensor]:
        """Index and squared distance for cloud `which`."""
        start = sum(self.rows[:which])
        part = slice(start, start + self.rows[which])
        return self.index[part], self.distance[part]


class BoxSearch:
    """Trees over the samples of a ragged target on a GPU, built once and queried many times."""

    def __init__(self, target: Tensor, offsets: Sequence[int]) -> None:
        self.device = target.device
        with torch.cuda.device(self.device):
            launch = Launcher(self.device)
            self.trees = [build(launch, [(target, layout)])[0] for layout in layouts(tuple(offsets))]

    def nearest(self, query: Tensor, offsets: Sequence[int], cap: float | None) -> tuple[Tensor, Tensor]:
        """Return index (N,) int64 into the concatenated target and squared distance (N,), -1 and infinity if none."""
        answers = Answers([query.shape[0]], self.device)
        with torch.cuda.device(self.device):
            launch = Launcher(self.device)
            for layout, target in zip(layouts(tuple(offsets)), self.trees, strict=True):
                tree = build(launch, [(query, layout)])[0]
                clouds = pack(tree.packed(*answers.addresses(0)), target.packed(), squared_limit(cap), 0)
                search(launch, clouds, layout, 1)
        return answers.index, answers.distance


def search_pair(
    a: Tensor, b: Tensor, a_offsets: Sequence[int], b_offsets: Sequence[int], cap: float | None, both: bool
) -> Answers:
    """Build both clouds at once and search from a to b, or both ways."""
    answers = Answers([a.shape[0], b.shape[0]] if both else [a.shape[0]], a.device)
    with torch.cuda.device(a.device):
        launch = Launcher(a.device)
        for a_layout, b_layout in zip(layouts(tuple(a_offsets)), layouts(tuple(b_offsets)), strict=True):
            first, second = build(launch, [(a, a_layout), (b, b_layout)])
            ends = answers.addresses(1) if both else ()
            clouds = pack(first.packed(*answers.addresses(0)), second.packed(*ends), squared_limit(cap), 0)
            larger = b_layout if both and b_layout.blocks > a_layout.blocks else a_layout
            search(launch, clouds, larger, 1 + both)
    return answers
