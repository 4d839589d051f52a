# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames count: all pairs, or every fifth as the leaderboards take them."""

from collections.abc import Collection
from typing import Literal

from models.data.logfile import LogFrames
from models.errors import InputError
from stages.evaluation.masks import MaskZip

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


def v1_frames(frames: LogFrames, masks: MaskZip | None, phase: int) -> list[int]:
    """Frames of a log on leaderboard v1: those of the mask zip, else every fifth of the pairs of all logs.

    Args:
        frames: the log.
        masks: the official masks; their frames hold for any part of the split, which a count cannot.
        phase: residue of the log's frames modulo 5, where there is no zip.

    Raises:
        InputError: a zip of another split, or with a sweep that the log lacks.
    """
    last = frames.num_frames - 1
    if masks is None:
        return list(range(phase, last, STRIDE))
    stamps = masks.stamps(frames.log_id)
    if not stamps and last >= STRIDE:
        raise InputError(f"{masks.path} has no mask of log {frames.log_id}; take the zip of this split")
    index = {int(stamp): t for t, stamp in enumerate(frames.timestamp_ns)}
    unknown = [stamp for stamp in stamps if index.get(stamp, last) >= last]
    if unknown:
        raise InputError(f"{masks.path} wants sweep {unknown[0]} of log {frames.log_id}, which starts no pair")
    return [index[stamp] for stamp in stamps]


def v2_frames(frames: LogFrames) -> list[int]:
    """Every fifth sweep of the log from its first, the last sweep left out; a gap in time shifts nothing."""
    return list(range(0, frames.num_frames - 1, STRIDE))


def families_of(frame: int, frames: Frames, v1: Collection[int]) -> tuple[str, ...]:
    """Metric families that score a frame of a log, whose v1 frames are given; v2's are every fifth from its first."""
    if frames == "all":
        return ("v1", "v2", "range", "opensceneflow")
    families = PER_FRAME if frame in v1 else ()
    return (*families, "v2") if frame % STRIDE == 0 else families
