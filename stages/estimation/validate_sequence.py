# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Are the sweeps a tenth of a second apart, and are the poses fine enough?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from stages.estimation.findings import Finding
from stages.estimation.poses import Poses

SHORTEST, LONGEST = 0.05, 0.15  # s between two sweeps: the pairs that the network learned from, 10 Hz give or take
_MEANINGLESS = 0.25  # s
_RESOLUTION = 0.005  # m, of positions


def check_times(time_ns: list[int] | None) -> Iterator[Finding]:
    """Findings about the time between sweeps: their median step, and what `usable_pairs` leaves out."""
    if time_ns is None:
        text = "neither names nor poses tell the sweeps' times; they are taken to be 0.1 s apart, as the network wants"
        yield Finding("note", "no times", text)
        return
    steps = _steps(time_ns)
    step = float(np.median(steps))
    if (steps <= 0).any():
        row = int(np.flatnonzero(steps <= 0)[0])
        text = f"sweep {row + 2} is {-steps[row]:.3f} s before the one that it follows; give sweeps in order of time"
        yield Finding("error", "order", text)
    elif step > LONGEST:
        text = (
            f"the sweeps are {step:.2f} s apart ({1 / step:.2g} Hz), and the network learned from pairs 0.1 s apart; "
            "give consecutive sweeps of 10 Hz, not key frames"
        )
        yield Finding("error" if step > _MEANINGLESS else "warning", "rate", text)
    elif step < SHORTEST:
        text = f"the sweeps are {step:.3f} s apart, and the network learned from pairs 0.1 s apart; leave some out"
        yield Finding("warning", "rate", text)
    if gaps := len(steps) - len(usable_pairs(len(time_ns), time_ns)):
        text = f"{gaps} pairs lie across a gap of more than {_longest(steps):.3g} s in the recording; they get no flow"
        yield Finding("warning", "gaps", text)


def usable_pairs(count: int, time_ns: list[int] | None) -> list[int]:
    """First sweeps of the pairs to estimate: all, but those across a gap in a recording that else has none."""
    if time_ns is None:
        return list(range(count - 1))
    steps = _steps(time_ns)
    longest = _longest(steps)
    return [pair for pair in range(count - 1) if steps[pair] <= longest]


def _longest(steps: NDArray[np.float64]) -> float:
    """The longest step between two sweeps that is no gap, s."""
    return max(LONGEST, 1.5 * float(np.median(steps)))


def _steps(time_ns: list[int]) -> NDArray[np.float64]:
    times = np.array(time_ns, dtype=np.int64)
    return np.asarray((times[1:] - times[:-1]) / 1e9)


def check_poses(poses: Poses) -> Iterator[Finding]:
    """Findings about how the poses are stored."""
    if poses.resolution > _RESOLUTION:
        text = (
            f"the positions in {poses.path.name} are stored in steps of {poses.resolution:.2g} m (float32 far from the "
            "origin, or few digits), and all still points seem to move by as much; store them as float64, or leave "
            "out --poses"
        )
        yield Finding("warning", "precision", text)
