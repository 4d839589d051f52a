# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes around points in space-filling order: built for whole batches, then searched (docs/nearest-neighbour.md)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.cuda.driver import Launcher, on_device
from kernels.cuda.layout import BLOCK, FAN, HEAD, SHAPE, TAIL, Layout, layouts

GREATEST = float(torch.finfo(torch.float32).max)


class Tree(NamedTuple):
    """A part of a cloud as the kernels see it."""

    layout: Layout
    addresses: tuple[int, ...]  # of source, points, leaves, tiles, supers, table, totals, place, scenes
    tickets: int  # address of one zero for each sample
    memory: tuple[Tensor, ...]  # what must live as long

    def struct(self, index: int = 0, distance: int = 0, pulls: int = 0, scale: float = 0.0) -> bytes:
        """The Cloud struct, with the addresses of its answers."""
        return HEAD.pack(*self.addresses, index, distance, pulls, scale) + self.layout.table


def allocate(launch: Launcher, clouds: Sequence[tuple[Tensor, Layout]], more: int = 0) -> tuple[list[Tree], int, int]:
    """Memory for one or two trees, the counters in it zero; the addresses of a barrier and of that many more bytes.

    All of it lives as long as one of the trees.
    """
    zeroed = sum(layout.zeroed_in_all for _, layout in clouds) + 32
    size = zeroed + sum(layout.kept_in_all for _, layout in clouds) + more
    memory = torch.empty(size, dtype=torch.uint8, device=clouds[0][0].device)
    zero_at = memory.data_ptr()
    at = zero_at + zeroed
    launch.zero(zero_at, zeroed)
    trees = []
    for source, layout in clouds:
        points, leaves, tiles, scenes, _ = layout.kept
        supers, table, totals, _ = layout.zeroed
        leaves_at, table_at = at + points, zero_at + supers
        tiles_at = leaves_at + leaves
        places_at = tiles_at + tiles + scenes - 8 * layout.first_row  # rows count from the start of the whole cloud
        addresses = (
            *(source.data_ptr(), at, leaves_at, tiles_at, zero_at, table_at, table_at + table),
            *(places_at, tiles_at + tiles),
        )
        trees.append(Tree(layout, addresses, table_at + table + totals, (source, memory)))
        at += layout.kept_in_all
        zero_at += layout.zeroed_in_all
    return trees, zero_at, at


def pack(first: bytes, second: bytes, limit: float, barrier: int, several: int, lists: Sequence[int] = (0, 0)) -> bytes:
    """The Clouds struct, with the first cloud as the one to begin with."""
    return b"".join((first, second, TAIL.pack(limit, 0, barrier, several, -1, *lists)))


def packets(layout: Layout) -> int:
    """Packets of queries in a cloud."""
    return layout.blocks * BLOCK * SHAPE.lanes // FAN


def build(launch: Launcher, clouds: bytes, layouts: Sequence[Layout]) -> None:
    """Order the points of the first cloud, or of both, and put boxes around them."""
    launch.together("build", sum(layout.blocks for layout in layouts), BLOCK, clouds)


def search(launch: Launcher, clouds: bytes, layouts: Sequence[Layout]) -> None:
    """Search from the first cloud to the second, or both ways."""
    threads = FAN * SHAPE.warps
    blocks = max(packets(layout) for layout in layouts) // SHAPE.warps
    launch("search", blocks, len(layouts), threads, clouds)
    launch("search_apart", min(blocks, 2 * launch.resident), len(layouts), threads, clouds)


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
        self.trees: list[Tree] = []
        with on_device(self.device):
            launch = Launcher(self.device)
            for layout in layouts(tuple(offsets), SHAPE):
                trees, barrier, _ = allocate(launch, [(target, layout)])
                struct = trees[0].struct()
                build(launch, pack(struct, struct, 0.0, barrier, 1), [layout])
                self.trees += trees

    def nearest(self, query: Tensor, offsets: Sequence[int], cap: float | None) -> tuple[Tensor, Tensor]:
        """Return index (N,) int64 into the concatenated target and squared distance (N,), -1 and infinity if none."""
        with on_device(self.device):
            launch = Launcher(self.device)
            answers = Answers([query.shape[0]], self.device)
            for layout, target in zip(layouts(tuple(offsets), SHAPE), self.trees, strict=True):
                trees, barrier, given_up = allocate(launch, [(query, layout)], 4 * packets(layout))
                ends = trees[0].struct(*answers.addresses(0)), target.struct()
                clouds = pack(*ends, squared_limit(cap), barrier, 1, (given_up, 0))
                build(launch, clouds, [layout])
                search(launch, clouds, [layout])
        return answers.of(0)


def search_pair(
    a: Tensor, b: Tensor, a_offsets: Sequence[int], b_offsets: Sequence[int], cap: float | None, both: bool
) -> Answers:
    """Build both clouds at once and search from a to b, or both ways."""
    with on_device(a.device):
        launch = Launcher(a.device)
        answers = Answers([a.shape[0], b.shape[0]] if both else [a.shape[0]], a.device)
        for pair in zip(layouts(tuple(a_offsets), SHAPE), layouts(tuple(b_offsets), SHAPE), strict=True):
            sources, more = [(a, pair[0]), (b, pair[1])], 4 * sum(map(packets, pair))
            (first, second), barrier, given_up = allocate(launch, sources, more)
            back = answers.addresses(1) if both else (0, 0)
            ends = first.struct(*answers.addresses(0)), second.struct(*back)
            lists = given_up, given_up + 4 * packets(pair[0])
            clouds = pack(*ends, squared_limit(cap), barrier, 2, lists)
            build(launch, clouds, pair)
            search(launch, clouds, pair if both else pair[:1])
    return answers
