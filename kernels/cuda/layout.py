# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where everything lies: samples, blocks of points and cells of a ragged cloud. Twin of csrc/clouds.cuh."""

import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

BLOCK = 1024  # points in a block, one thread each
FAN = 32  # children of a node of the tree
SAMPLES = 64  # most samples in one launch
CHUNK = 4096  # cells in a block of the scan
LEAST_BITS, MOST_BITS = 12, 20  # of the table of cells
POINTERS = 12  # at the head of a Cloud
TABLE = struct.Struct(f"<{3 * (SAMPLES + 1)}ii")  # the end of a Cloud
CLOUD = f"{POINTERS}Qd{TABLE.size}s"
CLOUDS = struct.Struct(f"<{CLOUD}{CLOUD}fiQii2Q")
CHAMFER = struct.Struct("<8Qii")


@dataclass(frozen=True)
class Shape:
    """Compiled in, where asserts refuse what cannot work; docs/nearest-neighbour.md has the figures behind it."""

    leaf: int = 32  # points in a leaf: a power of two from 2 to 32
    lanes: int = 4  # lanes that share a query: a power of two, at most leaf
    patience: int = 48  # visits that a packet of queries makes together, at least 1
    warps: int = 4  # packets in a block of the search: a power of two from 1 to 32
    resident: int = 10  # blocks of the search that a multiprocessor must hold, at least 1


SHAPE = Shape()


@dataclass(frozen=True, slots=True)
class Layout:
    """At most SAMPLES samples of a cloud: where they lie and what they need."""

    first_row: int
    rows: int
    samples: int
    blocks: int
    cells: int
    table: bytes  # row, block, cells and samples of a Cloud
    kept: tuple[int, ...]  # bytes before points, leaves, tiles, scenes, places, and of all
    zeroed: tuple[int, ...]  # bytes before supers, table, totals, tickets, and of all


@lru_cache(maxsize=256)
def layouts(offsets: tuple[int, ...], shape: Shape) -> tuple[Layout, ...]:
    """Cut a batch into parts of at most SAMPLES samples."""
    last = len(offsets) - 1
    return tuple(_layout(offsets[i : min(i + SAMPLES, last) + 1], shape) for i in range(0, last, SAMPLES))


def _layout(rows: tuple[int, ...], shape: Shape) -> Layout:
    blocks, cells = [0], [0]
    for start, end in zip(rows, rows[1:], strict=False):
        blocks.append(blocks[-1] + -(-(end - start) // BLOCK))
        cells.append(cells[-1] + (2 ** table_bits(end - start) if end > start else 0))
    samples = len(rows) - 1
    padding = [0] * (SAMPLES - samples)
    table = TABLE.pack(*rows, *padding, *blocks, *padding, *cells, *padding, samples)
    points = blocks[-1] * BLOCK
    tiles = points // (shape.leaf * FAN)
    kept = points * 16, points // shape.leaf * 32, tiles * 32, samples * 32, 8 * (rows[-1] - rows[0])
    zeroed = (tiles // FAN + samples) * 32, cells[-1] * 4, cells[-1] // CHUNK * 4, samples * 4
    return Layout(rows[0], rows[-1] - rows[0], samples, blocks[-1], cells[-1], table, _starts(kept), _starts(zeroed))


def _starts(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Where each piece starts behind the ones before, and how much all take, rounded up."""
    *starts, end = accumulate(sizes, initial=0)
    return *starts, end + 31 & ~31


def table_bits(points: int) -> int:
    """Even, so that the table is a square of cells; one to four cells for two points."""
    bits = LEAST_BITS
    while 2 * 2**bits < points and bits < MOST_BITS:
        bits += 2
    return bits
