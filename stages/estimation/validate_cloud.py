# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Is this sweep what the network takes: metres, z up, x forward, the road where it should be, and points at all?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.estimation.cloud import Cloud
from stages.estimation.findings import Finding
from stages.estimation.frame import AXLE_HEIGHT, Frame
from stages.estimation.shape import Shape, shape

_FEWEST = 200  # points, below which nothing can be told of a scene
_ZEROS = 0.01  # share of rows 0 0 0
_LONGEST, _SHORTEST = 1000.0, 3.0  # m, a lidar's sweep spreads over less and over more
_FAR = 300.0  # m from the origin to the middle of the cloud
_FLAT = 0.5  # of the spread along z: an axis so much flatter is the upright one
_TURNED = 0.25  # of what lies below the ground: less above than that is a cloud upside down
_HEIGHT = 0.5  # m by which the road may lie elsewhere: slopes, and curbs beside it
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
    for finding in _check_shape(shape(solid), frame):
        yield Finding(finding.level, finding.name, f"{name}: {finding.text}")
        if finding.level == "error":
            return
    yield from _check_range(cloud, frame, box)


def _check_shape(form: Shape, frame: Frame) -> Iterator[Finding]:
    across = float(form.spread[:2].max())
    if max(across, form.spread[2]) > _LONGEST:
        text = f"the cloud is {across:,.0f} units wide: millimetres or centimetres? coordinates must be in metres"
        yield Finding("error", "units", text)
    elif max(across, form.spread[2]) < _SHORTEST:
        text = f"the cloud is {across:.2g} units wide: kilometres, or scaled to 1? coordinates must be in metres"
        yield Finding("error", "units", text)
    elif np.abs(form.centre[:2]).max() > _FAR:
        x, y = form.centre[:2]
        text = (
            f"the cloud lies around x {x:,.0f}, y {y:,.0f} m, in a fixed frame of the world; move each sweep into the "
            "vehicle's own frame by the inverse of its pose"
        )
        yield Finding("error", "world", text)
    elif int(np.argmin(form.spread)) < 2 and form.spread.min() < _FLAT * form.spread[2]:
        axis = "xy"[int(np.argmin(form.spread))]
        text = (
            f"the cloud is flat along {axis}, not along z: a camera's axes? turn it to x forward, y left, z up (from a "
            "camera's x right, y down, z forward: x = z, y = -x, z = -y)"
        )
        yield Finding("error", "axes", text)
    elif not frame.ground_removed and form.below > 20 and form.above < _TURNED * form.below:
        text = "nearly all lies below the widest level layer: z points down; turn it to x forward, y left, z up"
        yield Finding("error", "upside down", text)
    elif not frame.ground_removed and abs(form.ground + frame.height) > _HEIGHT:
        said = (
            "--mount-height says" if frame.height != AXLE_HEIGHT else "for points of the rear axle's frame it lies at"
        )
        text = (
            f"the road lies at z = {form.ground:.2f} m, and {said} {-frame.height:.2f}; if the points are the lidar's "
            f"own, give its height over the road, about --mount-height {max(0.0, -form.ground):.2f}"
        )
        yield Finding("warning", "height", text)


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
