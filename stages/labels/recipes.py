# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where the truth recipes differ, class by class: `python -m stages.labels.recipes --split val`."""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogFrames, log_ids
from models.errors import InputError
from stages.labels.boxes import Boxes, boxes_by_sweep, read_boxes
from stages.labels.categories import CATEGORIES
from stages.labels.truth import RECIPES
from stages.pipeline.folders import require_folders

COLUMNS = ("both", "only official", "only grown", "other flow", "not valid: official", "not valid: grown")
SAME_FLOW = 0.01  # m; flows that differ by less are the same


def differences(
    points: NDArray[np.floating], boxes0: Boxes, boxes1: Boxes, ego1_SE3_ego0: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Points of a pair's first sweep by class and by how the recipes `official` and `grown` label them.

    Args:
        points: first sweep, ego frame 0, metres  # (N, 3)
        boxes0: boxes of the first sweep.
        boxes1: boxes of the second sweep.
        ego1_SE3_ego0: ego motion  # (4, 4)

    Returns:
        counts; rows are the 30 categories, columns those of `COLUMNS`; a point with two classes counts in each
        # (30, 6)
    """
    official, grown = (RECIPES[name](points, boxes0, boxes1, ego1_SE3_ego0) for name in ("official", "grown"))
    a, b = official.category, grown.category
    moved = np.linalg.norm(official.flow - grown.flow, axis=1) > SAME_FLOW
    chosen = (
        (a, a == b),
        (a, a != b),
        (b, a != b),
        (np.maximum(a, b), moved),
        (a, ~official.valid),
        (np.maximum(a, b), ~grown.valid),
    )
    counts = [np.bincount(category[rows], minlength=len(CATEGORIES) + 1)[1:] for category, rows in chosen]
    return np.stack(counts, axis=1)


def log_differences(frames: LogFrames, boxes_file: Path) -> NDArray[np.int64]:
    """The same, summed over the pairs of a log  # (30, 6)."""
    boxes = list(boxes_by_sweep(*read_boxes(boxes_file), frames.timestamp_ns))
    total = np.zeros((len(CATEGORIES), len(COLUMNS)), dtype=np.int64)
    for t in frames.pairs():
        total += differences(frames.xyz(t), boxes[t], boxes[t + 1], frames.ego1_SE3_ego0(t))
    return total


def table(counts: NDArray[np.int64]) -> str:
    """Counts (30, 6) as text, classes without points left out."""
    lines = [f"{'points':34}" + "".join(f"{name:>21}" for name in COLUMNS)]
    rows = [*zip(CATEGORIES, counts, strict=True), ("all", counts.sum(axis=0))]
    lines += [f"{name:34}" + "".join(f"{count:21,}" for count in row) for name, row in rows if row.any()]
    return "\n".join(lines)


def main() -> None:
    """Print the table of a split."""
    parser = argparse.ArgumentParser(prog="python -m stages.labels.recipes", description=__doc__)
    parser.add_argument("--split", default="val")
    parser.add_argument("--data", type=Path, default=Path("data"))
    given = parser.parse_args()
    total = np.zeros((len(CATEGORIES), len(COLUMNS)), dtype=np.int64)
    try:
        require_folders(given.data, given.split, ("frames", "boxes"))
        for log in log_ids(given.data / "frames" / given.split):
            boxes = given.data / "boxes" / given.split / f"{log}.parquet"
            if boxes.exists():
                total += log_differences(LogFrames.open(given.data / "frames" / given.split / f"{log}.h5"), boxes)
    except InputError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(table(total) + "\n")


if __name__ == "__main__":
    main()
