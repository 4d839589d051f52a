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
from stages.estimation.validate_frame import UNITS

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


def check_motion(
    overlay: Overlay, motion: Motion, timed: bool, inverted: NDArray[np.float64] | None = None
) -> Iterator[Finding]:
    """Findings about the ego motion of a pair, causes before what follows from them; nothing follows wrong poses.

    Args:
        overlay: the pair.
        motion: what is taken for its motion.
        timed: whether the time between the sweeps is known, so that speed says nothing about it.
        inverted: the motion (4, 4) that the poses give if each is the inverse of what is wanted.
    """
    if motion.source == "poses":
        wrong = _wrong_poses(overlay, motion, inverse_SE3(motion.ego1_SE3_ego0) if inverted is None else inverted)
        if wrong is not None:
            yield wrong
            return
        yield from _check_correction(overlay, motion)
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


def _wrong_poses(overlay: Overlay, motion: Motion, inverted: NDArray[np.float64]) -> Finding | None:
    """The error of poses whose motion is none of these clouds, where another one that a known mistake makes fits."""
    given, standing = motion.ego1_SE3_ego0, np.eye(4)
    if not _moves(given):
        return None
    if _fits_instead(overlay, inverted, given) and not overlay.prefers(standing, inverted):
        return _inverted(still=not overlay.prefers(inverted, standing))
    back = inverse_SE3(given)
    if _fits_instead(overlay, back, given) and not overlay.prefers(standing, back):
        text = "the sweeps lie on each other better by the way back than by the poses' motion: are they, or the poses, "
        return Finding("error", "inverted", f"{text}in reverse order? give both in order of time")
    if abs(motion.travel[2]) > max(_DIRECTION, *np.abs(motion.travel[:2])):
        text = "the poses go along z, as a camera's do: KITTI's poses want its calibration too, --calib calib.txt"
        return Finding("error", "camera", text)
    unit = _other_unit(overlay, given)
    if unit is not None:
        return unit
    if overlay.prefers(standing, given) and not overlay.prefers(inverse_SE3(given), standing):
        text = (
            "the sweeps lie on each other better without the poses' motion than with it: they are in one frame "
            "already; give --compensated instead of --poses"
        )
        return Finding("error", "compensated", text)
    return None


def _inverted(still: bool) -> Finding:
    text = (
        "the sweeps lie on each other better by the inverse of the poses: poses must map the vehicle's frame into the "
        "fixed one; invert them, or swap the sweeps if their order is the wrong one"
    )
    if still:
        text += "; or, as they hardly move, they are in one frame already: --compensated"
    return Finding("error", "inverted", text)


def _fits_instead(overlay: Overlay, other: NDArray[np.float64], given: NDArray[np.float64]) -> bool:
    """Whether another motion fits clearly better than the given one, and is right: registration leaves it there."""
    if not overlay.prefers(other, given):
        return False
    better = overlay.corrected(overlay.judged(other, "poses")).ego1_SE3_ego0
    return not _belongs_elsewhere(overlay, better, other)


def _other_unit(overlay: Overlay, given: NDArray[np.float64]) -> Finding | None:
    """An error where the clouds move as the poses say but for a factor that two units make."""
    for name, metres in UNITS.items():
        for factor, what in ((1 / metres, "clouds"), (metres, "poses")):
            scaled = given.copy()
            scaled[:3, 3] *= factor
            if _fits_instead(overlay, scaled, given) and overlay.prefers(scaled, np.eye(4)):
                text = (
                    f"the sweeps lie on each other better by the poses' motion times {factor:.3g}: are the {what} in "
                    f"{name}? multiply their coordinates by {metres:g}, clouds and poses must be in metres"
                )
                return Finding("error", "units", text)
    return None


def _check_correction(overlay: Overlay, motion: Motion) -> Iterator[Finding]:
    better = overlay.corrected(motion).ego1_SE3_ego0
    if _belongs_elsewhere(overlay, better, motion.ego1_SE3_ego0):
        metres, degrees = _distance(better, motion.ego1_SE3_ego0)
        text = (
            f"registration moves the sweeps by another {metres:.2f} m and {degrees:.2f}° to lie better than by the "
            "poses: poses of other sweeps, or of another frame than the points' (KITTI: --calib calib.txt)? Without "
            "--poses registration is used"
        )
        yield Finding("warning", "misfit", text)


def _belongs_elsewhere(overlay: Overlay, better: NDArray[np.float64], motion: NDArray[np.float64]) -> bool:
    """Whether what registration makes of a motion lies far from it and fits clearly better."""
    metres, degrees = _distance(better, motion)
    return (metres > _OFF_M or degrees > _OFF_DEG) and overlay.prefers(better, motion)


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


def _distance(other: NDArray[np.float64], motion: NDArray[np.float64]) -> tuple[float, float]:
    """How far apart two motions are, m and degrees."""
    off = other @ inverse_SE3(motion)
    return float(np.linalg.norm(off[:3, 3])), turn_deg(off)


def _moves(motion: NDArray[np.float64]) -> bool:
    return bool(np.linalg.norm(motion[:3, 3]) > _MOVED_M or turn_deg(motion) > _MOVED_DEG)
