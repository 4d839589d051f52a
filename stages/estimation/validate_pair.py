# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Does the ego motion fit the two clouds, and are they two clouds of one drive in vehicle axes?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from models.geometry import inverse_SE3
from stages.estimation.cloud import Cloud
from stages.estimation.findings import Finding
from stages.estimation.motion import Motion, Overlay, turn_deg

_MOVED_M, _MOVED_DEG = 0.1, 0.3  # less than this cannot be told from standing
_OFF_M, _OFF_DEG = 0.15, 0.5  # poses that registration moves by more do not belong to the clouds
_OVERLAP = 0.35  # share of the scene that two consecutive sweeps have in common at least
_FASTEST = 4.0  # m a pair: 144 km/h at 10 Hz, 29 km/h at 2 Hz
_DIRECTION = 0.3  # m, from which on the direction of the motion says something


def check_identical(cloud0: Cloud, cloud1: Cloud) -> Iterator[Finding]:
    """Whether both sweeps are the same points."""
    if np.array_equal(cloud0.xyz, cloud1.xyz, equal_nan=True):
        text = f"{cloud0.path.name} and {cloud1.path.name} hold the same points; give two consecutive sweeps"
        yield Finding("error", "identical", text)


def check_motion(overlay: Overlay, motion: Motion, timed: bool) -> Iterator[Finding]:
    """Findings about the ego motion of a pair.

    Args:
        overlay: the pair.
        motion: what is taken for its motion.
        timed: whether the time between the sweeps is known, so that speed says nothing about it.
    """
    if motion.source == "poses":
        yield from _check_poses(overlay, motion)
    if motion.source == "registration":
        yield _registered(motion)
    if motion.source == "compensated":
        yield from _check_compensated(overlay, motion)
    yield from _check_travel(motion, timed)


def _registered(motion: Motion) -> Finding:
    fit = motion.fit
    told = (
        f"travel {np.linalg.norm(motion.travel):.2f} m, turn {motion.turn_deg:.2f}°, residual {fit.residual:.3f} m "
        f"over {fit.overlap:.0%} of the scene"
    )
    if not fit.overlap >= _OVERLAP:
        text = f"no poses are given, and registration lays no sweep on the other ({told}); give --poses or 10 Hz"
        return Finding("error", "registration", text)
    return Finding("warning", "no poses", f"no poses are given; ego motion by registration: {told}; --poses is surer")


def _check_poses(overlay: Overlay, motion: Motion) -> Iterator[Finding]:
    given = motion.ego1_SE3_ego0
    moved = _moves(given)
    if abs(motion.travel[2]) > max(_DIRECTION, *np.abs(motion.travel[:2])):
        text = "the poses go along z, as a camera's do: KITTI's poses want its calibration too, --calib calib.txt"
        yield Finding("error", "camera", text)
    elif moved and overlay.prefers(np.eye(4), given) and not overlay.prefers(inverse_SE3(given), np.eye(4)):
        text = (
            "the sweeps lie on each other better without the poses' motion than with it: they are in one frame "
            "already; give --compensated instead of --poses"
        )
        yield Finding("error", "compensated", text)
    elif moved and overlay.prefers(inverse_SE3(given), given):
        text = (
            "the sweeps lie on each other better by the inverse of the poses' motion: poses must map the vehicle's "
            "frame into the fixed one; invert them"
        )
        yield Finding("error", "inverted", text)
    else:
        yield from _check_correction(overlay, motion)


def _check_correction(overlay: Overlay, motion: Motion) -> Iterator[Finding]:
    better = overlay.corrected(motion)
    off = better.ego1_SE3_ego0 @ inverse_SE3(motion.ego1_SE3_ego0)
    metres, degrees = float(np.linalg.norm(off[:3, 3])), turn_deg(off)
    if (metres > _OFF_M or degrees > _OFF_DEG) and overlay.prefers(better.ego1_SE3_ego0, motion.ego1_SE3_ego0):
        text = (
            f"registration moves the sweeps by another {metres:.2f} m and {degrees:.2f}° to lie better than by the "
            "poses: poses of other sweeps, or of another frame than the points' (KITTI: --calib calib.txt)? Without "
            "--poses registration is used"
        )
        yield Finding("warning", "misfit", text)


def _check_compensated(overlay: Overlay, motion: Motion) -> Iterator[Finding]:
    better = overlay.registered()
    if _moves(better.ego1_SE3_ego0) and overlay.prefers(better.ego1_SE3_ego0, motion.ego1_SE3_ego0):
        text = (
            f"--compensated is given, but the sweeps lie {np.linalg.norm(better.travel):.2f} m and "
            f"{better.turn_deg:.2f}° apart; leave it out, or give --poses"
        )
        yield Finding("warning", "not compensated", text)


def _check_travel(motion: Motion, timed: bool) -> Iterator[Finding]:
    x, y, _ = motion.travel
    length = float(np.linalg.norm(motion.travel))
    if length > _FASTEST and not timed:
        text = (
            f"the vehicle goes {length:.1f} m from sweep to sweep, {36 * length:.0f} km/h at 10 Hz: are these key "
            f"frames of 2 Hz ({7.2 * length:.0f} km/h)? The network wants consecutive sweeps of 10 Hz"
        )
        yield Finding("error", "rate", text)
    elif length > _DIRECTION and abs(y) > abs(x):
        text = f"the vehicle goes sideways (x {x:+.2f}, y {y:+.2f} m): turn the points so that x is forward and y left"
        yield Finding("warning", "sideways", text)
    elif x < -_DIRECTION:
        text = (
            f"the vehicle goes backwards (x {x:+.2f} m): does it reverse, are the sweeps swapped, or does x point back?"
        )
        yield Finding("warning", "backwards", text)


def _moves(motion: NDArray[np.float64]) -> bool:
    return bool(np.linalg.norm(motion[:3, 3]) > _MOVED_M or turn_deg(motion) > _MOVED_DEG)
