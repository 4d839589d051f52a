# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes around points in space-filling order: built for whole batches, then searched (docs/nearest-neighbour.md)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.cuda.driver import Launcher
from kernels.cuda.layout import BLOCK, CHUNK, DRAWN, FAN, HEAD, SHAPE, TAIL, WARPS, Layout, layouts

GREATEST = float(torch.finfo(torch.float32).max)


class Tree(NamedTuple):
    """A part of a cloud as the kernels see it."""

    layout: Layout
    addresses: tuple[int, ...]  # of source, points, leaves, tiles, supers, table, cursor, place, scenes
    tickets: int  # address of one zero for each sample
    memory: tuple[Tensor, ...]  # what must live as long

    def struct(self, index: int = 0, distance: int = 0, pulls: int = 0, scale: float = 0.0) -> bytes:
        """The Cloud struct, with the addresses of its answers."""
        return HEAD.pack(*self.addresses, index, distance, pulls, scale) + self.layout.table


def allocate(clouds: Sequence[tuple[Tensor, Layout]], more_zeros: int = 0) -> tuple[list[Tree], int]:
    """Memory for one or two trees, the counters in it zero; and the address of that many more zero bytes."""
    device = clouds[0][0].device
    kept = sum(sum(layout.kept) + 31 & ~31 for _, layout in clouds)
    zeroed = sum(sum(layout.zeroed) + 31 & ~31 for _, layout in clouds) + more_zeros
    keep = torch.empty(kept // 4, dtype=torch.int32, device=device)
    zeros = torch.zeros(zeroed // 4, dtype=torch.int32, device=device)
    at, zero_at = keep.data_ptr(), zeros.data_ptr()
    trees = []
    for source, layout in clouds:
        points, leaves, tiles, scenes, _ = layout.kept
        supers, table, cursor, _ = layout.zeroed
        leaves_at, table_at = at + points, zero_at + supers
        tiles_at = leaves_at + leaves
        places_at = tiles_at + tiles + scenes - 8 * layout.first_row  # rows count from the start of the whole cloud
        addresses = (
            *(source.data_ptr(), at, leaves_at, tiles_at, zero_at, table_at, table_at + table),
            *(places_at, tiles_at + tiles),
        )
        trees.append(Tree(layout, addresses, table_at + table + cursor, (source, keep, zeros)))
        at += sum(layout.kept) + 31 & ~31
        zero_at += sum(layout.zeroed) + 31 & ~31
    return trees, zero_at


def pack(first: bytes, second: bytes, limit: float) -> bytes:
    """The Clouds struct, with the first cloud as the one to begin with."""
    return b"".join((first, second, TAIL.pack(limit, 0)))


def build(launch: Launcher, clouds: bytes, layouts: Sequence[Layout]) -> None:
    """Order the points of the first cloud, or of both, and put boxes around them."""
    blocks = max(layout.blocks for layout in layouts)
    chunks = max(layout.cells for layout in layouts) // CHUNK
    launch("survey", max(layout.samples for layout in layouts) if blocks else 0, len(layouts), DRAWN, clouds)
    launch("count", blocks, len(layouts), BLOCK, clouds)
    launch("scan", chunks, len(layouts), BLOCK, clouds)
    launch("scatter", blocks, len(layouts), BLOCK, clouds)
    launch("arrange", blocks, len(layouts), BLOCK, clouds)


def search(launch: Launcher, clouds: bytes, layouts: Sequence[Layout]) -> None:
    """Search from the first cloud to the second, or both ways."""
    blocks = max(layout.blocks for layout in layouts) * BLOCK * SHAPE.lanes // (FAN * WARPS)
    launch("search", blocks, len(layouts), FAN * WARPS, clouds)


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
        skip = self.rows[0] if which else 0
        return self.index.data_ptr() + 8 * skip, self.distance.data_ptr() + 4 * skip

    def of(self, which: int) -> tuple[Tensor, Tensor]:
        """Index and squared distance for cloud `which`."""
        if len(self.rows) == 1:
            return self.index, self.distance
        start = self.rows[0] if which else 0
        return self.index.narrow(0, start, self.rows[which]), self.distance.narrow(0, start, self.rows[which])


class BoxSearch:
    """Trees over the samples of a ragged target on a GPU, built once and queried many times."""

    def __init__(self, target: Tensor, offsets: Sequence[int]) -> None:
        self.device = target.device
        self.trees = []
        with torch.cuda.device(self.device):
            launch = Launcher(self.device)
            for layout in layouts(tuple(offsets), SHAPE):
                tree = allocate([(target, layout)])[0][0]
                struct = tree.struct()
                build(launch, pack(struct, struct, 0.0), [layout])
                self.trees.append(tree)

    def nearest(self, query: Tensor, offsets: Sequence[int], cap: float | None) -> tuple[Tensor, Tensor]:
        """Return index (N,) int64 into the concatenated target and squared distance (N,), -1 and infinity if none."""
        with torch.cuda.device(self.device):
            launch = Launcher(self.device)
            answers = Answers([query.shape[0]], self.device)
            for layout, target in zip(layouts(tuple(offsets), SHAPE), self.trees, strict=True):
                tree = allocate([(query, layout)])[0][0]
                clouds = pack(tree.struct(*answers.addresses(0)), target.struct(), squared_limit(cap))
                build(launch, clouds, [layout])
                search(launch, clouds, [layout])
        return answers.of(0)


def search_pair(
    a: Tensor, b: Tensor, a_offsets: Sequence[int], b_offsets: Sequence[int], cap: float | None, both: bool
) -> Answers:
    """Build both clouds at once and search from a to b, or both ways."""
    with torch.cuda.device(a.device):
        launch = Launcher(a.device)
        answers = Answers([a.shape[0], b.shape[0]] if both else [a.shape[0]], a.device)
        for pair in zip(layouts(tuple(a_offsets), SHAPE), layouts(tuple(b_offsets), SHAPE), strict=True):
            (first, second), _ = allocate([(a, pair[0]), (b, pair[1])])
            ends = answers.addresses(1) if both else ()
            clouds = pack(first.struct(*answers.addresses(0)), second.struct(*ends), squared_limit(cap))
            build(launch, clouds, pair)
            search(launch, clouds, pair if both else pair[:1])
    return answers
