# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Is this sweep what the network takes: points at all, numbers, a frame that fits, something in its range?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.estimation.cloud import Cloud
from stages.estimation.findings import Finding
from stages.estimation.frame import Frame
from stages.estimation.validate_frame import check_frame

_FEWEST = 200  # points, below which nothing can be told of a scene
_ZEROS = 0.01  # share of rows 0 0 0
_SEEN = 0.2  # share of the points in the network's range


@dataclass(frozen=True)
class Range:
    """The box that the network sees, in its own frame, m."""

    minimum: tuple[float, float, float]
    maximum: tuple[float, float, float]


def check_cloud(cloud: Cloud, frame: Frame, box: Range) -> Iterator[Finding]:
    """Findings of one sweep, causes before what follows from them.

    Args:
        cloud: the sweep.
        frame: where its points are said to be.
        box: what the network sees.
    """
    name = cloud.path.name
    if cloud.note:
        yield Finding("note", "format", f"{name}: {cloud.note}")
    points = cloud.xyz[cloud.valid]
    if len(points) < len(cloud.xyz):
        count = len(cloud.xyz) - len(points)
        text = (
            f"{count:,} of {len(cloud.xyz):,} rows hold NaN or infinity; they stay in place with NaN flow, valid false"
        )
        yield Finding("note", "nan", f"{name}: {text}")
    solid = points[(points != 0).any(axis=1)]
    if len(solid) < _FEWEST:
        text = f"{len(solid)} points are too few for a scene (wanted {_FEWEST} and more); is this the right file?"
        yield Finding("error", "few", f"{name}: {text}")
        return
    zeros = 1 - len(solid) / len(points)
    if zeros > _ZEROS:
        text = (
            f"{zeros:.0%} of the points are exactly 0 0 0, which is how some drivers write no return; write NaN instead"
        )
        yield Finding("warning", "zeros", f"{name}: {text}")
    for finding in check_frame(solid, frame):
        yield Finding(finding.level, finding.name, f"{name}: {finding.text}")
        if finding.level == "error":
            return
    yield from _check_range(cloud, frame, box)


def _check_range(cloud: Cloud, frame: Frame, box: Range) -> Iterator[Finding]:
    points = frame.to_network(cloud.xyz[cloud.valid].astype(np.float64))
    inside = float(((points >= box.minimum) & (points < box.maximum)).all(axis=1).mean())
    told = ", ".join(
        f"{axis} {low:g} to {high:g} m" for axis, low, high in zip("xyz", box.minimum, box.maximum, strict=True)
    )
    if not inside:
        text = f"no point lies in the network's range ({told} of the rear axle's frame); is the frame right?"
        yield Finding("error", "range", f"{cloud.path.name}: {text}")
    elif inside < _SEEN:
        text = f"{inside:.0%} of the points lie in the network's range ({told}); only these get a flow of their own"
        yield Finding("warning", "range", f"{cloud.path.name}: {text}")
