# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Are a sweep's coordinates metres, of axes x forward, y left, z up, level, with the road where it should be?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stages.estimation.findings import Finding
from stages.estimation.frame import AXLE_HEIGHT, Frame
from stages.estimation.level import Level, road_plane
from stages.estimation.shape import Shape, shape

UNITS = {"feet": 0.3048, "decimetres": 0.1, "centimetres": 0.01, "millimetres": 0.001}  # m
_FARTHEST, _FAR_OFF, _SHORTEST = 500.0, 200.0, 3.0  # m: no lidar, few lidars reach farther; none spreads over less
_LIDAR = (20.0, 400.0)  # m, what lidars reach
_MOUNTED = (0.2, 4.0)  # m over the road, where vehicles carry them
_AHEAD = 60.0  # m, within which is the road of lidars that see none near by: a beam 5° down meets it 20 m away
_WORLD = 300.0  # m from the origin to the middle of the cloud
_FLAT = 0.5  # of the spread along z: an axis so much flatter is the upright one
_TURNED = 0.25  # of what lies below the ground: less above than that is a cloud upside down
_TILT = 4.0  # degrees by which the road may be off level: 2.1 at most in PandaSet, 0.6 in simulated logs
_HEIGHT, _EXACT = 0.5, 0.12  # m by which the road may lie elsewhere; and where that is to tell the unit

Float64 = NDArray[np.float64]


def check_frame(points: NDArray[np.floating], frame: Frame) -> Iterator[Finding]:
    """Findings of finite points (N, 3), causes before what follows from them; nothing follows an error."""
    values = np.asarray(points, dtype=np.float64)
    form = shape(values)
    error = _unit_error(values, form, frame) or _axes_error(form)
    if error is not None:
        yield error
    elif not frame.ground_removed:
        yield from _check_road(values, form, frame)


def _unit_error(points: Float64, form: Shape, frame: Frame) -> Finding | None:
    if form.reach > _FARTHEST:
        roads = {} if frame.ground_removed else _level_roads(points)
        names = [name for name, z in roads.items() if _exact(z, frame)] or [
            name for name, metres in UNITS.items() if _LIDAR[0] <= form.reach * metres <= _LIDAR[1]
        ]
        told = " or ".join(f"{name} ({form.reach * UNITS[name]:.0f} m, times {UNITS[name]:g})" for name in names)
        text = f"the cloud reaches {form.reach:,.0f} units, farther than any lidar sees: {told or 'of what unit'}?"
        return Finding("error", "units", f"{text} coordinates must be in metres")
    if form.spread.max() < _SHORTEST:
        text = f"the cloud is {form.spread.max():.2g} units wide: kilometres, or scaled to 1?"
        return Finding("error", "units", f"{text} coordinates must be in metres")
    return None


def _axes_error(form: Shape) -> Finding | None:
    flattest = int(np.argmin(form.spread))
    if np.abs(form.centre[:2]).max() > _WORLD:
        x, y = form.centre[:2]
        text = (
            f"the cloud lies around x {x:,.0f}, y {y:,.0f} m, in a fixed frame of the world; move each sweep into the "
            "vehicle's own frame by the inverse of its pose"
        )
        return Finding("error", "world", text)
    if flattest < 2 and form.spread.min() < _FLAT * form.spread[2]:
        text = (
            f"the cloud is flat along {'xy'[flattest]}, not along z: a camera's axes? turn it to x forward, y left, "
            "z up (from a camera's x right, y down, z forward: x = z, y = -x, z = -y)"
        )
        return Finding("error", "axes", text)
    return None


def _check_road(points: Float64, form: Shape, frame: Frame) -> Iterator[Finding]:
    around = road_plane(points)
    level = around or road_plane(points, _AHEAD)
    tilted = level is not None and level.tilt_deg > _TILT
    z = form.ground if level is None else level.height
    off = not abs(z + frame.height) <= _HEIGHT
    turned = around is not None and form.below > 20 and form.above < _TURNED * form.below
    roads = _level_roads(points) if tilted or off or turned else {}
    sound = None if level is None else _mounted(z) and not tilted and not turned
    unit = _unit_by_road(roads, form, frame, sound)
    if unit is not None:
        yield unit
        return
    if level is not None and tilted:
        yield _tilt(level)
    elif turned:
        text = "nearly all lies below the widest level layer: z points down; turn it to x forward, y left, z up"
        yield Finding("error", "upside down", text)
        return
    if off and not np.isnan(z):
        yield _height(z, frame, [name for name, there in roads.items() if _exact(there, frame)])


def _unit_by_road(roads: dict[str, float], form: Shape, frame: Frame, sound: bool | None) -> Finding | None:
    """A finding where the road is that of another unit and in metres is not sound, or few lidars reach so far.

    No road in metres (sound is None) says nothing: then only its very height in another unit is an error.
    """
    text = f"the cloud reaches {form.reach:,.0f} units, and "
    exact = next((name for name, z in roads.items() if _exact(z, frame)), None)
    if exact and (form.reach > _FAR_OFF or sound is False):
        text += f"in {exact} the road lies where it should, at z = {-frame.height:.2f} m: multiply the coordinates by "
        return Finding("error", "units", f"{text}{UNITS[exact]:g}, they must be in metres")
    told = _by_unit({name: z for name, z in roads.items() if _mounted(z)})
    if told and form.reach > _FAR_OFF and not sound:
        text += f"no road is where a vehicle's lidar sees it: {told}? Metres are wanted"
        return Finding("warning" if sound is None else "error", "units", text)
    return None


def _level_roads(points: Float64) -> dict[str, float]:
    """Where the road lies at the origin, z in m, by the unit that the coordinates may have; only level roads."""
    scaled = {name: points * metres for name, metres in UNITS.items()}
    planes = {name: road_plane(there) or road_plane(there, _AHEAD) for name, there in scaled.items()}
    return {name: plane.height for name, plane in planes.items() if plane is not None and plane.tilt_deg <= _TILT}


def _exact(z: float, frame: Frame) -> bool:
    """Whether a road lies just where the frame says."""
    return abs(z + frame.height) <= _EXACT


def _mounted(height: float) -> bool:
    """Whether a road at this z is one that a vehicle's lidar may see."""
    return _MOUNTED[0] <= -height <= _MOUNTED[1]


def _tilt(level: Level) -> Finding:
    x, y = level.rise_deg
    text = (
        f"the road is {level.tilt_deg:.1f}° off level (it rises by {x:+.1f}° along x, {y:+.1f}° along y): is the lidar "
        "mounted at a slant? level the points, and the poses with them; on a ramp let it be"
    )
    return Finding("warning", "tilt", text)


def _height(z: float, frame: Frame, units: list[str]) -> Finding:
    said = "--mount-height says" if frame.height != AXLE_HEIGHT else "for points of the rear axle's frame it lies at"
    if z > 0:
        advice = "the origin lies below it: does z point down, or count from a fixed height of the world?"
    elif -z > _MOUNTED[1]:
        told = _by_unit({name: z * metres for name, metres in UNITS.items() if _mounted(z * metres)})
        advice = f"vehicles carry no lidar so high: are the coordinates {told or 'metres'}?"
    else:
        advice = f"if the points are the lidar's own, give its height over the road, about --mount-height {-z:.2f}"
        advice += "".join(f"; if they are {unit}, multiply by {UNITS[unit]:g}" for unit in units)
    return Finding("warning", "height", f"the road lies at z = {z:.2f} m, and {said} {-frame.height:.2f}; {advice}")


def _by_unit(roads: dict[str, float]) -> str:
    """What to do for each unit with a road at this z, m."""
    return " or ".join(f"{name} (times {UNITS[name]:g}, then --mount-height {-z:.2f})" for name, z in roads.items())
