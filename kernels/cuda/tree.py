# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes around points in space-filling order: built for whole batches, then searched (docs/nearest-neighbour.md)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kernels.cuda.driver import Launcher, on_device
from kernels.cuda.layout import BLOCK, CLOUDS, FAN, SHAPE, Layout, layouts

GREATEST = float(torch.finfo(torch.float32).max)
Cloud = tuple[Any, ...]  # values of a Cloud struct


class Tree(NamedTuple):
    """A part of a cloud as the kernels see it."""

    layout: Layout
    addresses: tuple[int, ...]  # of source, points, leaves, tiles, supers, table, totals, place, scenes
    tickets: int  # address of one zero for each sample
    memory: tuple[Tensor, ...]  # what must live as long

    def cloud(self, index: int = 0, distance: int = 0, pulls: int = 0, scale: float = 0.0) -> Cloud:
        """The values of a Cloud struct, with the addresses of its answers."""
        return *self.addresses, index, distance, pulls, scale, self.layout.table


def allocate(launch: Launcher, clouds: Sequence[tuple[Tensor, Layout]], more: int = 0) -> tuple[list[Tree], int, int]:
    """Memory for one or two trees, the counters in it zero; the addresses of a barrier and of that many more bytes.

    All of it lives as long as one of the trees.
    """
    all_zeroed, all_kept = 32, 0
    for _, layout in clouds:
        all_zeroed += layout.zeroed[-1]
        all_kept += layout.kept[-1]
    memory = torch.empty(all_zeroed + all_kept + more, dtype=torch.uint8, device=clouds[0][0].device)
    zero_at = memory.data_ptr()
    at = zero_at + all_zeroed
    launch.zero(zero_at, all_zeroed)
    trees = []
    for source, layout in clouds:
        points, leaves, tiles, scenes, places, kept = layout.kept
        supers, table, totals, tickets, zeroed = layout.zeroed
        addresses = (
            *(source.data_ptr(), at + points, at + leaves, at + tiles),
            *(zero_at + supers, zero_at + table, zero_at + totals),
            *(at + places - 8 * layout.first_row, at + scenes),  # rows count from the start of the whole cloud
        )
        trees.append(Tree(layout, addresses, zero_at + tickets, (source, memory)))
        at += kept
        zero_at += zeroed
    return trees, zero_at, at


def pack(first: Cloud, second: Cloud, limit: float, barrier: int, several: int, lists: Sequence[int] = (0, 0)) -> bytes:
    """The Clouds struct, with the first cloud as the one to begin with."""
    return CLOUDS.pack(*first, *second, limit, 0, barrier, several, -1, *lists)


def packets(layout: Layout) -> int:
    """Packets of queries in a cloud."""
    return layout.blocks * BLOCK * SHAPE.lanes // FAN


def build(launch: Launcher, clouds: bytes, blocks: int) -> None:
    """Order the points of the first cloud, or of both, and put boxes around them; pulls of both become zero."""
    launch.together("build", blocks, BLOCK, clouds)


def search(launch: Launcher, clouds: bytes, most: int, ways: int) -> None:
    """Search from the first cloud to the second, or both ways; `most` packets of queries in one of them."""
    threads, blocks = FAN * SHAPE.warps, most // SHAPE.warps
    launch("search", blocks, ways, threads, clouds)
    launch("search_apart", min(blocks, 2 * launch.resident), ways, threads, clouds)


def squared_limit(cap: float | None) -> float:
    """Greatest squared distance that counts, as float32 holds it."""
    return GREATEST if cap is None else min(cap * cap, GREATEST)


class Answers:
    """Index and squared distance for the points of one or two clouds, in one piece of memory each."""

    def __init__(self, rows: list[int], device: torch.device) -> None:
        self.rows = rows
        self.index = torch.empty(sum(rows), dtype=torch.int64, device=device)
        self.distance = torch.empty(sum(rows), dtype=torch.float32, device=device)

    def addresses(self, which: int) -> tuple[int, int]:
        """Of the answers for cloud `which`."""
        skip = self.rows[0] if which else 0
        return self.index.data_ptr() + 8 * skip, self.distance.data_ptr() + 4 * skip

    def by_cloud(self) -> list[tuple[Tensor, Tensor]]:
        """Index and squared distance for each cloud."""
        if len(self.rows) == 1:
            return [(self.index, self.distance)]
        parts = self.index.split_with_sizes(self.rows), self.distance.split_with_sizes(self.rows)
        return list(zip(*parts, strict=True))


class BoxSearch:
    """Trees over the samples of a ragged target on a GPU, built once and queried many times."""

    def __init__(self, target: Tensor, offsets: Sequence[int]) -> None:
        self.device = target.device
        self.trees: list[Tree] = []
        with on_device(self.device):
            launch = Launcher(self.device)
            for layout in layouts(tuple(offsets), SHAPE):
                trees, barrier, _ = allocate(launch, [(target, layout)])
                cloud = trees[0].cloud()
                build(launch, pack(cloud, cloud, 0.0, barrier, 1), layout.blocks)
                self.trees += trees

    def nearest(self, query: Tensor, offsets: Sequence[int], cap: float | None) -> tuple[Tensor, Tensor]:
        """Return index (N,) int64 into the concatenated target and squared distance (N,), -1 and infinity if none."""
        with on_device(self.device):
            launch = Launcher(self.device)
            answers = Answers([query.shape[0]], self.device)
            for layout, target in zip(layouts(tuple(offsets), SHAPE), self.trees, strict=True):
                most = packets(layout)
                trees, barrier, given_up = allocate(launch, [(query, layout)], 4 * most)
                ends = trees[0].cloud(*answers.addresses(0)), target.cloud()
                clouds = pack(*ends, squared_limit(cap), barrier, 1, (given_up, 0))
                build(launch, clouds, layout.blocks)
                search(launch, clouds, most, 1)
        return answers.index, answers.distance


def search_pair(
    a: Tensor, b: Tensor, a_offsets: Sequence[int], b_offsets: Sequence[int], cap: float | None, both: bool
) -> Answers:
    """Build both clouds at once and search from a to b, or both ways."""
    with on_device(a.device):
        launch = Launcher(a.device)
        answers = Answers([a.shape[0], b.shape[0]] if both else [a.shape[0]], a.device)
        for pair in zip(layouts(tuple(a_offsets), SHAPE), layouts(tuple(b_offsets), SHAPE), strict=True):
            forth, back = packets(pair[0]), packets(pair[1]) if both else 0
            sources = (a, pair[0]), (b, pair[1])
            (first, second), barrier, given_up = allocate(launch, sources, 4 * (forth + back))
            ends = first.cloud(*answers.addresses(0)), second.cloud(*(answers.addresses(1) if both else ()))
            clouds = pack(*ends, squared_limit(cap), barrier, 2, (given_up, given_up + 4 * forth))
            build(launch, clouds, pair[0].blocks + pair[1].blocks)
            search(launch, clouds, max(forth, back), 1 + both)
    return answers
