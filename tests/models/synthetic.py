# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Small logs as the data stages would write them: static scatter, two moving boxes, an ego car that drives; samples."""

from pathlib import Path

import numpy as np

from models.data.samples import Sample
from models.geometry import inverse_SE3, make_SE3, transform_points
from models.training.parameters import TrainParameters
from stages.frames.write import content_digest, write_columns

PERIOD = 100_000_000  # ns
MOTION = np.array([[0.8, 0.0, 0.0], [-0.5, 0.3, 0.0]])  # m a sweep, in the city


def city_SE3_ego(frame: int) -> np.ndarray:
    c, s = np.cos(0.01 * frame), np.sin(0.01 * frame)
    return make_SE3([[c, -s, 0], [s, c, 0], [0, 0, 1]], [1000 + 0.5 * frame, -2000.0, 10.0])


def city_points(seed: int, frame: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Points in the city and their labels: 0 static (the last of them ground), 1 noise, 2 and 3 boxes."""
    random = np.random.default_rng([seed, frame])
    static = np.random.default_rng(seed).uniform([-15, -15, 0.5], [15, 15, 3], (size, 3))
    ground = random.uniform([-15, -15, 0], [15, 15, 0.05], (size // 2, 3))
    boxes = [random.uniform([-2, -1, 0.5], [2, 1, 2], (60 + 5 * frame, 3)) + MOTION[i] * frame for i in (0, 1)]
    boxes = [box + offset for box, offset in zip(boxes, ([5, 5, 0], [-6, 4, 0]), strict=True)]
    points = np.concatenate([static, ground, *boxes]) + [1000, -2000, 10]
    labels = np.repeat([0, -1, 2, 3], [len(static), len(ground), len(boxes[0]), len(boxes[1])])
    labels[len(static) + len(ground)] = 1
    return points, labels


def write_log(data: Path, split: str, log: str, frames: int = 4, seed: int = 0, size: int = 300) -> None:
    """Write frames, ground, clusters and truth of one log."""
    poses = np.stack([city_SE3_ego(t) for t in range(frames)])
    sweeps = [city_points(seed, t, size) for t in range(frames)]
    xyz = [transform_points(inverse_SE3(poses[t]), points).astype(np.float16) for t, (points, _) in enumerate(sweeps)]
    labels = np.concatenate([label for _, label in sweeps])
    columns = {
        "xyz": np.concatenate(xyz),
        "intensity": np.zeros(len(labels), np.uint8),
        "laser_number": np.zeros(len(labels), np.uint8),
        "offset_ns": np.zeros(len(labels), np.int32),
        "frame_start": np.cumsum([0, *(len(x) for x in xyz)]).astype(np.int64),
        "timestamp_ns": np.arange(frames, dtype=np.int64) * PERIOD,
        "city_SE3_ego": poses,
        "pair_next": np.arange(frames) < frames - 1,
        "ego_SE3_up_lidar": np.eye(4),
        "ego_SE3_down_lidar": np.eye(4),
    }
    digest = content_digest(columns)
    path = f"{split}/{log}.h5"
    owner = {"log_id": log, "frames_digest": digest}
    write_columns(data / "frames" / path, "frames/1", columns, {"log_id": log, "digest": digest})
    write_columns(data / "ground" / path, "ground/1", {"ground": labels == -1}, owner)
    write_columns(data / "clusters" / path, "clusters/1", {"label": labels.clip(0).astype(np.int16)}, owner)
    write_columns(data / "truth" / path, "truth/1", truth(xyz, poses, labels), owner)


def truth(xyz: list[np.ndarray], poses: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Total flow of the boxes and of the static world."""
    frames = len(poses)
    flow, start = np.zeros((len(labels), 3), np.float32), 0
    for t in range(frames - 1):
        rows = slice(start, start + len(xyz[t]))
        own = np.zeros((len(xyz[t]), 3))
        for i, label in enumerate((2, 3)):
            own[labels[rows] == label] = MOTION[i]
        moved = transform_points(poses[t], xyz[t]) + own
        flow[rows] = transform_points(inverse_SE3(poses[t + 1]), moved) - xyz[t]
        start = rows.stop
    has_flow = np.arange(frames) < frames - 1
    valid = np.repeat(has_flow, [len(x) for x in xyz])
    category = np.where(labels > 1, 19, 0).astype(np.uint8)
    return {
        "flow": flow,
        "category": category,
        "instance": labels.clip(0).astype(np.int32),
        "valid": valid,
        "has_flow": has_flow,
    }


def samples(parameters: TrainParameters, number: int, three: bool = False) -> list[Sample]:
    """Samples with static, lone and clustered points."""
    random = np.random.default_rng(0)
    grid = parameters.model.grid()
    low, high = np.array(grid.minimum), np.array(grid.maximum)

    def cloud(n: int) -> np.ndarray:
        return (low + random.random((n, 3)) * (high - low) * 0.999).astype(np.float32)

    def labels(n: int) -> np.ndarray:
        return random.integers(0, 6, n).astype(np.int16)

    return [
        Sample(
            cloud(500), cloud(450), labels0=labels(500), labels1=labels(450),
            before=cloud(400) if three else None, labels_before=labels(400) if three else None,
        )
        for _ in range(number)
    ]  # fmt: skip
