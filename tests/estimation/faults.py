# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What may be wrong with a pair of clouds and its poses, and what is said then."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from models.geometry import inverse_SE3, make_SE3, transform_points
from tests.estimation.scene import motion, sweep, write

FORWARD = 1.0  # m that the vehicle goes in a pair
POSES = [motion(), motion(x=FORWARD)]
CAMERA_SE3_EGO = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
START_NS = 1_600_000_000_000_000_000
Change = Callable[[np.ndarray], np.ndarray]


@dataclass
class Fault:
    """What to do to a sound pair, and what is said then.

    Attributes:
        said: level, and parts of the message.
        change: of both clouds.
        second: of the second cloud alone, after that.
        poses: that the poses file holds, or None for no file.
        seconds: between the sweeps as their names tell, or None for names without times.
        options: more arguments.
    """

    said: tuple[str, ...]
    change: Change = field(default=lambda points: points)
    second: Change = field(default=lambda points: points)
    poses: list[np.ndarray] | None = field(default_factory=lambda: POSES)
    seconds: list[float] | None = None
    options: tuple[str, ...] = ()


def shifted(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Change:
    return lambda points: (points + (x, y, z)).astype(np.float32)


def axes(*rows: tuple[int, int, int]) -> Change:
    return lambda points: (points @ np.array(rows, dtype=np.float32).T).astype(np.float32)


def with_rows(share: float, value: float) -> Change:
    def change(points: np.ndarray) -> np.ndarray:
        points = points.copy()
        points[: round(share * len(points))] = value
        return points

    return change


def scattered(points: np.ndarray) -> np.ndarray:
    return np.random.default_rng(9).uniform((-35, -15, -1), (35, 15, 5), points.shape).astype(np.float32)


def into_first(points: np.ndarray) -> np.ndarray:
    return transform_points(POSES[1], points).astype(np.float32)


def far(poses: list[np.ndarray]) -> list[np.ndarray]:
    """The poses in coordinates of a map, stored as float32."""
    moved = np.stack(poses)
    moved[:, :3, 3] += (4_000_000, 500_000, 100)
    return list(moved.astype(np.float32))


def in_feet(points: np.ndarray) -> np.ndarray:
    """A twentieth of the points far down the street, so that the cloud reaches as far as a lidar's."""
    points = points.copy()
    points[: len(points) // 20, 0] *= 3
    return (points * 3.28084).astype(np.float32)


def pitched(degrees: float) -> np.ndarray:
    """The transform (4, 4) into the frame of a lidar whose front is turned up, so that the road ahead sinks."""
    return make_SE3(Rotation.from_euler("y", degrees, degrees=True).as_matrix(), (0, 0, 0))


# The same motion far from the origin, as poses of a map are.
ON_MAP = [motion(4000, -2500, 30, yaw_deg=70) @ pose for pose in POSES]
TURNED = [motion(), motion(y=FORWARD)]  # of clouds whose y is forward

FAULTS = {
    "millimetres": Fault(
        ("error", "farther than any lidar sees: millimetres (3", "m, times 0.001)? coordinates must be in metres"),
        lambda p: p * 1000,
    ),
    "decimetres": Fault(("error", "in decimetres the road lies where it should, at z = -0.33 m"), lambda p: p * 10),
    "feet": Fault(("error", "in feet the road lies where it should", "multiply the coordinates by 0.3048"), in_feet),
    "feet near by": Fault(
        ("warning", "the road lies at z = -1.09 m", "--mount-height 1.09; if they are feet, multiply by 0.3048"),
        lambda p: (p * 3.28084).astype(np.float32),
        poses=[motion(), motion(x=FORWARD / 0.3048)],
    ),
    "poses in feet": Fault(
        ("error", "by the poses' motion times 0.305: are the poses in feet?"),
        poses=[motion(), motion(x=FORWARD / 0.3048)],
    ),
    "pitched": Fault(
        ("warning", "the road is 6.0° off level (it rises by -6.0° along x", "mounted at a slant? level the points"),
        lambda p: transform_points(pitched(6), p).astype(np.float32),
        poses=[pitched(6) @ p @ inverse_SE3(pitched(6)) for p in POSES],
    ),
    "rolled": Fault(
        ("warning", "the road is 20.0° off level (it rises by -0.0° along x, +20.0° along y)"),
        lambda p: (p @ Rotation.from_euler("x", 20, degrees=True).as_matrix().T).astype(np.float32),
    ),
    "above the road": Fault(
        ("warning", "the road lies at z = 2.67 m", "does z point down, or count from"), shifted(z=3)
    ),
    "kilometres": Fault(("error", "units wide: kilometres, or scaled to 1?"), lambda p: p / 1000),
    "world": Fault(("error", "lies around x 5,0", "in a fixed frame of the world"), shifted(5000, 3000)),
    "axes": Fault(("error", "flat along y, not along z: a camera's axes?"), axes((0, -1, 0), (0, 0, -1), (1, 0, 0))),
    "upside down": Fault(("error", "z points down; turn it"), axes((1, 0, 0), (0, -1, 0), (0, 0, -1))),
    "height": Fault(("warning", "the road lies at z = -1.7", "about --mount-height 1.7"), shifted(z=-1.4)),
    "range nothing": Fault(("error", "no point lies in the network's range (x -38.4 to 38.4 m"), shifted(z=20)),
    "range little": Fault(("warning", "% of the points lie in the network's range"), shifted(x=60)),
    "nothing but zeros": Fault(("error", "0 points are too few for a scene"), lambda p: p * 0),
    "few": Fault(("error", "10 points are too few for a scene"), lambda p: p[:10]),
    "nan": Fault(("note", "2,400 of 24,000 rows hold NaN or infinity; they stay in place"), with_rows(0.1, np.nan)),
    "zeros": Fault(("warning", "5% of the points are exactly 0 0 0", "write NaN instead"), with_rows(0.05, 0)),
    "identical": Fault(("error", "hold the same points; give two consecutive sweeps"), second=lambda p: None),
    "2 Hz by names": Fault(("error", "0.50 s apart (2 Hz)", "not key frames"), seconds=[0, 0.5]),
    "5 Hz by names": Fault(("warning", "0.20 s apart (5 Hz)"), seconds=[0, 0.2]),
    "50 Hz by names": Fault(("warning", "0.020 s apart", "leave some out"), seconds=[0, 0.02]),
    "2 Hz by motion": Fault(
        ("error", "goes 5.0 m from sweep to sweep, 180 km/h at 10 Hz: are these key frames of 2 Hz (36 km/h)?"),
        poses=[motion(), motion(x=5)],
        second=lambda p: sweep(motion(x=5), seed=1),
    ),
    "order": Fault(("error", "sweep 2 is 0.100 s before the one that it follows"), seconds=[0, -0.1]),
    "no times": Fault(("note", "neither names nor poses tell the sweeps' times")),
    "no poses": Fault(
        ("warning", "ego motion by registration: travel 1.00 m", "% of the scene; --poses is surer"), poses=None
    ),
    "registration": Fault(("error", "registration lays no sweep on the other"), second=scattered, poses=None),
    "precision": Fault(
        ("warning", "stored in steps of 0.25 m (float32 far from the origin", "store them as float64"), poses=far(POSES)
    ),
    "camera": Fault(
        ("error", "go along z, as a camera's do", "--calib calib.txt"),
        poses=[CAMERA_SE3_EGO @ p @ inverse_SE3(CAMERA_SE3_EGO) for p in POSES],
    ),
    "compensated": Fault(("error", "in one frame already; give --compensated"), second=into_first),
    "inverted": Fault(
        ("error", "by the inverse of the poses: poses must map", "invert them, or swap the sweeps"),
        poses=[inverse_SE3(p) for p in POSES],
    ),
    "inverted on a map": Fault(
        ("error", "by the inverse of the poses: poses must map", "invert them"), poses=[inverse_SE3(p) for p in ON_MAP]
    ),
    "right on a map": Fault(("note", "neither names nor poses tell the sweeps' times"), poses=ON_MAP),
    "misfit": Fault(("warning", "registration moves the sweeps by another 0.50 m"), poses=[motion(), motion(x=1.5)]),
    "not compensated": Fault(
        ("warning", "the sweeps lie 1.00 m and 0.0", "apart; leave it out"), poses=None, options=("--compensated",)
    ),
    "sideways": Fault(
        ("warning", "goes sideways (x -0.00, y +1.00 m)"), axes((0, -1, 0), (1, 0, 0), (0, 0, 1)), poses=TURNED
    ),
    "backwards": Fault(
        ("warning", "goes backwards (x -1.00 m)"),
        poses=[motion(), motion(x=-1)],
        second=lambda p: sweep(motion(x=-1), seed=1),
    ),
}


# Reach, height and lowest beam of lidars that look far ahead; of many of them no point of the road is near.
AHEAD = list(product((200.0, 240.0, 280.0), (1.5, 1.8), (-5.0, -6.5, -7.0, -10.0)))


def files(street: list[np.ndarray], fault: Fault, folder: Path) -> list[object]:
    names = ["a", "b"] if fault.seconds is None else [str(START_NS + round(s * 1e9)) for s in fault.seconds]
    first, second = (fault.change(points) for points in street)
    changed = fault.second(second)
    clouds = [first, first if changed is None else changed]
    arguments: list[object] = [write(folder / f"{n}.npy", p) for n, p in zip(names, clouds, strict=True)]
    if fault.poses is not None:
        np.save(folder / "poses.npy", np.stack(fault.poses))
        (folder / "poses").mkdir()
        arguments += ["--poses", (folder / "poses.npy").rename(folder / "poses/poses.npy")]
    return [*arguments, *fault.options, "--no-picture"]
