# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A street made by hand, sampled anew for each sweep, and clouds written in every format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
from scipy.spatial.transform import Rotation

from models.geometry import inverse_SE3, make_SE3, transform_points

KINDS = (".npy", ".npz", ".bin", ".pcd", ".ply", ".feather", ".parquet", ".csv")
# x, y, z of the centre and length, width, height of each still box: house fronts, parked cars, poles.
BOXES = np.array(
    [
        [0, 14, 3, 70, 1, 8],
        [0, -13, 3, 70, 1, 8],
        [30, 4, 2, 1, 10, 5],
        [-28, -5, 2, 1, 9, 5],
        [8, 6, 0.4, 4.5, 1.9, 1.5],
        [-9, 6, 0.4, 4.5, 1.9, 1.5],
        [15, -6, 0.4, 4.5, 1.9, 1.5],
        [5, -10, 2, 0.4, 0.4, 5],
        [-14, 10, 2, 0.4, 0.4, 5],
        [20, 9, 2, 0.4, 0.4, 5],
    ]
)
CAR = np.array([10, -2.5, 0.4, 4.5, 1.9, 1.5])  # the one that moves
ROAD = -0.33  # m


def motion(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw_deg: float = 0.0) -> np.ndarray:
    """`world_SE3_ego` (4, 4) of a vehicle that stands there, turned about z."""
    return make_SE3(Rotation.from_euler("z", yaw_deg, degrees=True).as_matrix(), (x, y, z))


def sweep(world_SE3_ego: np.ndarray, seed: int, points: int = 24_000, car_x: float = 0.0) -> np.ndarray:
    """Points (N, 3) float32 of the street in the vehicle's frame; the car has gone `car_x` m along x."""
    random = np.random.default_rng(seed)
    car = CAR + (car_x, 0, 0, 0, 0, 0)
    boxes = np.concatenate([BOXES, car[None]])
    area = boxes[:, 3] * boxes[:, 5] + boxes[:, 4] * boxes[:, 5]
    chosen = random.choice(len(boxes), size=points // 2, p=area / area.sum())
    walls = _faces(boxes[chosen], random)
    road = np.column_stack([random.uniform(-34, 34, points // 2), random.uniform(-12, 13, points // 2)])
    road = np.column_stack([road, np.full(len(road), ROAD)])
    world = np.concatenate([walls, road]) + random.normal(0, 0.01, (2 * (points // 2), 3))
    return transform_points(inverse_SE3(world_SE3_ego), world).astype(np.float32)


def forward(reach: float, height: float, lowest_deg: float) -> np.ndarray:
    """Points (N, 3) of a lidar's own frame that looks 30 degrees to each side: road, house fronts, a far wall, cars.

    Args:
        reach: of the far wall, m.
        height: of the lidar over the road, m.
        lowest_deg: the lowest of 60 beams, up to 5 degrees above level.
    """
    up, aside = np.meshgrid(np.radians(np.linspace(lowest_deg, 5, 60)), np.radians(np.linspace(-30, 30, 240)))
    ray = np.stack([np.cos(up) * np.cos(aside), np.cos(up) * np.sin(aside), np.sin(up)], axis=-1).reshape(-1, 3)
    hits = [_hits(ray, 2, -height), _hits(ray, 0, reach)]
    for y, top in ((12, 8), (-14, 10)):  # with lanes between the houses
        hits.append(_hits(ray, 1, y, lambda p, top=top: (p[:, 2] < top - height) & (np.mod(p[:, 0], 30) < 24)))
    for x, y in ((12, 8), (25, -3), (40, 7), (60, 3.5), (110, -3.5)):
        hits.append(_hits(ray, 0, x, lambda p, y=y: (np.abs(p[:, 1] - y) < 0.9) & (p[:, 2] < 1.5 - height)))
    distance = np.min(hits, axis=0)
    seen = distance < 1.02 * reach
    noise = np.random.default_rng(0).normal(0, 0.02, seen.sum())
    return ray[seen] * (distance[seen] + noise)[:, None]


def _hits(ray: np.ndarray, axis: int, value: float, inside: Callable | None = None) -> np.ndarray:
    """Distance at which rays (N, 3) meet the plane where a coordinate has a value, inf where they do not (N,)."""
    with np.errstate(divide="ignore"):
        distance = value / ray[:, axis]
    distance[distance <= 0] = np.inf
    met = np.isfinite(distance)
    if inside is not None:
        met[met] = inside(ray[met] * distance[met, None])
    return np.where(met, distance, np.inf)


def _faces(boxes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A point on an upright face of each box (N, 6)."""
    where = random.uniform(-0.5, 0.5, (len(boxes), 3))
    side = random.random(len(boxes)) < boxes[:, 3] / (boxes[:, 3] + boxes[:, 4])
    where[side, 1] = np.sign(where[side, 1]) / 2
    where[~side, 0] = np.sign(where[~side, 0]) / 2
    return boxes[:, :3] + where * boxes[:, 3:]


def write(path: Path, points: np.ndarray) -> Path:
    """Points (N, 3) float32 as a file of any kind, with an intensity of 0.5."""
    intensity = np.full(len(points), 0.5, np.float32)
    table = pa.table({**{axis: pa.array(points[:, i]) for i, axis in enumerate("xyz")}, "intensity": intensity})
    rows = np.column_stack([points, intensity]).astype("<f4")
    match path.suffix:
        case ".npy":
            np.save(path, points)
        case ".npz":
            np.savez(path, points=points)
        case ".bin":
            rows.tofile(path)
        case ".pcd":
            header = (
                f"VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {len(rows)}\n"
            )
            path.write_bytes(f"{header}HEIGHT 1\nPOINTS {len(rows)}\nDATA binary\n".encode() + rows.tobytes())
        case ".ply":
            names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "intensity"))
            head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{names}end_header\n"
            path.write_bytes(head.encode() + rows.tobytes())
        case ".feather":
            pyarrow.feather.write_feather(table, path)
        case ".parquet":
            pyarrow.parquet.write_table(table, path)
        case ".csv":
            pyarrow.csv.write_csv(table, path)
    return path
