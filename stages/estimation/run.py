# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""From files to flow, pair by pair: read, check, find the ego motion and the ground, ask the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import inverse_SE3, rigid_flow, transform_points
from stages.estimation.cloud import Cloud
from stages.estimation.findings import Teller
from stages.estimation.formats import read_cloud
from stages.estimation.frame import Frame
from stages.estimation.ground import ground_method
from stages.estimation.motion import Float64, Motion, Overlay
from stages.estimation.pose_text import read_calibration
from stages.estimation.poses import read_poses, sweep_poses
from stages.estimation.sequence import sweep_times
from stages.estimation.validate_cloud import Range, check_cloud
from stages.estimation.validate_pair import check_identical, check_motion
from stages.estimation.validate_sequence import check_poses, check_times, usable_pairs

if TYPE_CHECKING:
    from models.network import PillarFlow

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        files: the sweeps, in order.
        poses: file of poses, or None.
        calibration: KITTI's calib.txt, where the poses are the camera's, or None.
        compensated: the sweeps are in one frame already.
        frame: where the points' origin lies.
    """

    files: list[Path]
    poses: Path | None
    calibration: Path | None
    compensated: bool
    frame: Frame

    def __post_init__(self) -> None:
        if self.compensated and self.poses is not None:
            raise InputError("--compensated says that no ego motion is left, --poses what it is; give one of them")
        if self.calibration is not None and self.poses is None:
            raise InputError("--calib moves poses of a camera to the lidar; give --poses too")


@dataclass(frozen=True)
class Sweep:
    """A sweep and its ground."""

    cloud: Cloud
    ground: Mask  # (N,)


@dataclass(frozen=True)
class Estimate:
    """Flow of one sweep to the next, rows as in its file.

    Attributes:
        sweep: the first sweep.
        following: the second.
        motion: ego motion between them.
        flow: total flow, m, in the frame of the points; NaN where a row is invalid  # (N, 3)
        residual: flow without ego motion, m, in the axes of the second sweep; 0 where not covered  # (N, 3)
        covered: rows that the network saw  # (N,)
        seconds: time between the sweeps, or None where it is not known.
    """

    sweep: Sweep
    following: Sweep
    motion: Motion
    flow: NDArray[np.float32]
    residual: NDArray[np.float32]
    covered: Mask
    seconds: float | None


@dataclass(frozen=True)
class Course:
    """What poses and names tell of the drive: poses (S, 4, 4) and times in ns (S,) of the sweeps, each or None."""

    world_SE3_ego: Float64 | None
    time_ns: list[int] | None

    def ego1_SE3_ego0(self, row: int) -> Float64 | None:
        """Motion from sweep `row` to the next, or None without poses."""
        poses = self.world_SE3_ego
        return None if poses is None else inverse_SE3(poses[row + 1]) @ poses[row]

    def inverted(self, row: int) -> Float64 | None:
        """That motion if each pose were the inverse of what is wanted, or None without poses."""
        poses = self.world_SE3_ego
        return None if poses is None else poses[row + 1] @ inverse_SE3(poses[row])

    def seconds(self, row: int) -> float | None:
        """Time from sweep `row` to the next, s, or None without times."""
        return None if self.time_ns is None else (self.time_ns[row + 1] - self.time_ns[row]) / 1e9


def estimates(request: Request, network: PillarFlow, device: str, teller: Teller) -> Iterator[Estimate]:
    """The flow of every pair, in order; two sweeps are in memory at a time.

    Raises:
        InputError: an input cannot be read, or a check finds an error that is not overruled.
    """
    course = read_course(request, teller)
    pairs = set(usable_pairs(len(request.files), course.time_ns))
    box = Range(network.grid.minimum, network.grid.maximum)
    segment = ground_method(request.frame)
    sweeps: list[Sweep] = []
    motion: Motion | None = None
    for row, file in enumerate(request.files):
        cloud = read_cloud(file)
        teller.tell(check_cloud(cloud, request.frame, box), file)
        sweeps = [*sweeps[-1:], Sweep(cloud, segment(cloud))]
        if row - 1 in pairs:
            teller.tell(check_identical(sweeps[0].cloud, cloud), sweeps[0].cloud.path)
            overlay = Overlay(sweeps[0].cloud, cloud)
            motion = find_motion(overlay, course.ego1_SE3_ego0(row - 1), request.compensated, motion)
            found = check_motion(overlay, motion, course.time_ns is not None, course.inverted(row - 1))
            teller.tell(found, sweeps[0].cloud.path)
            yield estimate(network, device, request.frame, sweeps, motion, course.seconds(row - 1))
    teller.close()


def read_course(request: Request, teller: Teller) -> Course:
    """Poses and times of the sweeps, checked."""
    time_ns, transforms = sweep_times(request.files), None
    if request.poses is not None:
        poses = read_poses(request.poses)
        teller.tell(check_poses(poses))
        transforms, time_ns = sweep_poses(poses, request.files, time_ns)
        if request.calibration is not None:
            transforms = transforms @ read_calibration(request.calibration)
    teller.tell(check_times(time_ns))
    return Course(transforms, time_ns)


def find_motion(overlay: Overlay, given: Float64 | None, compensated: bool, last: Motion | None) -> Motion:
    """Ego motion of a pair: as given, none, or by registration, which also begins at that of the pair before."""
    if given is not None:
        return overlay.judged(given, "poses")
    if compensated:
        return overlay.judged(np.eye(4), "compensated")
    return overlay.registered(None if last is None else last.ego1_SE3_ego0)


def estimate(
    network: PillarFlow, device: str, frame: Frame, sweeps: list[Sweep], motion: Motion, seconds: float | None
) -> Estimate:
    """Flow of the first of two sweeps."""
    from models.data.pairs import SweepPair
    from models.inference import predict_pair

    cloud = sweeps[0].cloud
    rows0, rows1 = (np.flatnonzero(sweep.cloud.valid & ~sweep.ground) for sweep in sweeps)
    xyz0 = cloud.xyz.astype(np.float64)
    points0 = frame.to_network(transform_points(motion.ego1_SE3_ego0, xyz0[rows0]))
    points1 = frame.to_network(sweeps[1].cloud.xyz[rows1].astype(np.float64))
    pair = SweepPair(points0.astype(np.float32), points1.astype(np.float32), rows0, rows1)
    residual = np.zeros((len(xyz0), 3), dtype=np.float32)
    covered = np.zeros(len(xyz0), dtype=np.bool_)
    residual[rows0], covered[rows0] = predict_pair(network, pair, device)
    residual[~cloud.valid] = np.nan
    xyz0[~cloud.valid] = np.nan  # a row that holds infinity has no flow either
    flow = (rigid_flow(xyz0, motion.ego1_SE3_ego0) + residual).astype(np.float32)
    return Estimate(sweeps[0], sweeps[1], motion, flow, residual, covered, seconds)
