# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where everything lies: samples, blocks of points and cells of a ragged cloud. Twin of csrc/clouds.cuh."""

import struct
from dataclasses import dataclass
from functools import lru_cache

BLOCK = 1024  # points in a block, one thread each
FAN = 32  # children of a node of the tree
SAMPLES = 64  # most samples in one launch
CHUNK = 4096  # cells in a block of the scan
WARPS = 8  # packets of queries in a block of the search
LEAST_BITS, MOST_BITS = 12, 20  # of the table of cells
POINTERS = 10  # at the head of a Cloud
CLOUD = struct.Struct(f"<{POINTERS}Q{3 * (SAMPLES + 1)}ii")
TAIL = struct.Struct("<fi")  # the end of Clouds
CHAMFER = struct.Struct("<10Q4dii")


@dataclass(frozen=True)
class Shape:
    """Compiled in; the figures behind the choice are in docs/nearest-neighbour.md."""

    leaf: int = 16  # points in a leaf
    lanes: int = 4  # lanes that share a query


SHAPE = Shape()


@dataclass(frozen=True, slots=True)
class Layout:
    """At most SAMPLES samples of a cloud: sizes, and the arrays of a Cloud."""

    first_row: int
    rows: int
    samples: int
    blocks: int
    cells: int
    table: tuple[int, ...]  # row, block, cells and samples of a Cloud

    @property
    def tiles(self) -> int:
        """Nodes above the leaves."""
        return self.blocks * BLOCK // (SHAPE.leaf * FAN)

    def bytes_kept(self) -> tuple[int, int, int]:
        """Bytes of points, leaves and tiles."""
        return self.blocks * BLOCK * 16, self.blocks * BLOCK // SHAPE.leaf * 32, self.tiles * 32

    def bytes_zeroed(self) -> tuple[int, int, int, int]:
        """Bytes of supers, table, cursor and tickets."""
        supers = (self.tiles // FAN + self.samples) * 32
        return supers, self.cells * 4, self.samples * 4, self.samples * 4


@lru_cache(maxsize=256)
def layouts(offsets: tuple[int, ...]) -> tuple[Layout, ...]:
    """Cut a batch into parts of at most SAMPLES samples."""
    last = len(offsets) - 1
    return tuple(_layout(offsets[i : min(i + SAMPLES, last) + 1]) for i in range(0, last, SAMPLES))


def _layout(rows: tuple[int, ...]) -> Layout:
    blocks, cells = [0], [0]
    for start, end in zip(rows, rows[1:], strict=False):
        blocks.append(blocks[-1] + -(-(end - start) // BLOCK))
        cells.append(cells[-1] + (2 ** table_bits(end - start) if end > start else 0))
    samples = len(rows) - 1
    padding = [0] * (SAMPLES - samples)
    table = (*rows, *padding, *blocks, *padding, *cells, *padding, samples)
    return Layout(rows[0], rows[-1] - rows[0], samples, blocks[-1], cells[-1], table)


def table_bits(points: int) -> int:
    """Even, so that the table is a square of cells; one to four cells for two points."""
    bits = LEAST_BITS
    while 2 * 2**bits < points and bits < MOST_BITS:
        bits += 2
    return bits
