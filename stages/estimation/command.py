# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The command line of `stages.estimate`."""

import argparse
from pathlib import Path

from models.errors import InputError
from stages.estimation.frame import AXLE_HEIGHT, Frame
from stages.estimation.run import Request
from stages.estimation.sequence import sweep_files

_HIGHEST = 10.0  # m
_DESCRIPTION = (
    "Flow from one lidar sweep to the next, for your own clouds: .npy .npz .bin .pcd .ply .feather .csv .parquet."
)
_EPILOG = (
    "Points must be in metres, x forward, y left, z up, each sweep in its own frame: the lidar's with --mount-height, "
    "else the rear axle's, 0.33 m over the road. docs/your-clouds.md says what each message means."
)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    line = argparse.ArgumentParser(prog="python -m stages.estimate", description=_DESCRIPTION, epilog=_EPILOG)
    line.add_argument("first", type=Path, metavar="A", help="a sweep, or a folder of consecutive sweeps")
    line.add_argument("second", type=Path, metavar="B", nargs="?", help="the next sweep")
    line.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder, or a file of A's kind")
    line.add_argument("--poses", type=Path, metavar="FILE", help="KITTI, TUM, CSV, AV2 or .npy (default: registration)")
    line.add_argument("--calib", type=Path, metavar="FILE", help="KITTI's calib.txt, where the poses are a camera's")
    line.add_argument("--compensated", action="store_true", help="the sweeps are in one frame: no ego motion is left")
    line.add_argument("--mount-height", type=float, metavar="M", help="height of the points' origin over the road, m")
    line.add_argument("--no-ground", action="store_true", help="the clouds hold no ground: look for none")
    line.add_argument("--weights", type=Path, metavar="FILE", help="other weights (default: models/weights)")
    line.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: as compute.yaml says, else auto")
    line.add_argument("--no-picture", action="store_true", help="write no picture")
    line.add_argument("--force", action="store_true", help="go on where a check finds an error")
    return line


def request(given: argparse.Namespace) -> Request:
    """What the arguments ask for; InputError where they contradict each other."""
    return Request(
        files=sweep_files(given.first, given.second),
        poses=given.poses,
        calibration=given.calib,
        compensated=given.compensated,
        frame=_frame(given.mount_height, given.no_ground),
    )


def _frame(height: float | None, ground_removed: bool) -> Frame:
    if height is None:
        return Frame(AXLE_HEIGHT, ground_removed)
    if not 0 <= height <= _HIGHEST:
        raise InputError(f"--mount-height {height:g} must be metres over the road, from 0 to {_HIGHEST:g}")
    return Frame(height, ground_removed)
