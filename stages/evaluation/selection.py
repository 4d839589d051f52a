# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames count: all pairs, or every fifth as the leaderboards take them."""

from typing import Literal

Frames = Literal["all", "official"]
STRIDE = 5  # the leaderboards score every fifth frame
PER_FRAME = ("v1", "range", "opensceneflow")  # families on v1's frames; v2 has its own


def v1_phases(sweeps: list[int]) -> list[int]:
    """First scored frame of each log on leaderboard v1, whose stride runs on across logs.

    Args:
        sweeps: number of sweeps of each log, logs in order of their ids.

    Returns:
        for each log the residue modulo 5 of its scored frames.
    """
    phases, pairs = [], 0
    for count in sweeps:
        phases.append(-pairs % STRIDE)
        pairs += max(count - 1, 0)
    return phases


def families_of(frame: int, frames: Frames, phase: int) -> tuple[str, ...]:
    """Metric families that score a frame of a log: v1's frames start at its phase, v2's at 0."""
    if frames == "all":
        return ("v1", "v2", "range", "opensceneflow")
    families = PER_FRAME if frame % STRIDE == phase else ()
    return (*families, "v2") if frame % STRIDE == 0 else families
