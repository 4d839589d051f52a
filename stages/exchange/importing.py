# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""OpenSceneFlow's scenes as files of this project: points in the ego frame, poses in double precision."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import FRAMES_SCHEMA
from models.errors import InputError
from models.geometry import inverse_SE3, rigid_flow, transform_points
from stages.evaluation.scene import TRUTH, Scene, open_sweeps, result_fields
from stages.exchange.fields import (
    ATTRIBUTE,
    EGO_XYZ,
    LOWER_LASER,
    OWN_COLUMNS,
    OWN_GROUND,
    OWN_LABEL,
    PAIR_ATTRIBUTE,
    POSE_ATTRIBUTE,
    unrecorded,
)
from stages.folder.poses import read_mounts
from stages.frames.ingest import pair_next
from stages.frames.write import content_digest, write_columns
from stages.sources.adapter import LIDARS

Columns = dict[str, NDArray[Any]]
Mounts = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class ImportTask:
    """What to import, and what a scene of another program does not say.

    Attributes:
        split: split that the files are written to.
        mounts: mounts `ego_SE3_lidar`, for scenes that were not exported here.
        result: field that holds the result; by default the one there is, if any.
        pair_gap_s: least and greatest time between two sweeps that make a pair, for the same scenes, seconds.
    """

    split: str
    mounts: Mounts | None
    result: str | None
    pair_gap_s: tuple[float, float]


def import_log(path: Path, output: Path, task: ImportTask) -> dict[str, Path]:
    """Write `<output>/<kind>/<split>/<scene>.h5` for what a scene holds; returns the files by kind.

    Raises:
        InputError: a scene that does not say where its lidar is, with several results, or with a damaged field.
    """
    with open_sweeps(path) as scene:
        mounts = _mounts(scene, task)
        frames = _frames(scene, mounts, task)
        labels = {
            "ground": _ground(scene),
            "truth": _truth(scene, frames),
            "dynamic": _dynamic(scene),
            "clusters": _clusters(scene),
            "predictions": _predictions(scene, frames, task),
        }
        made = json.loads(str(scene.attributes.get(ATTRIBUTE, "{}")))
    digest = content_digest(frames)
    folder = {kind: output / kind / task.split / f"{path.stem}.h5" for kind in ("frames", *labels)}
    write_columns(folder["frames"], FRAMES_SCHEMA, frames, {"log_id": path.stem, "digest": digest})
    written = {"frames": folder["frames"]}
    for kind, columns in labels.items():
        if columns is not None:
            attributes = {**_made(kind, columns, made), "log_id": path.stem, "frames_digest": digest}
            write_columns(folder[kind], f"{kind}/1", columns, attributes)
            written[kind] = folder[kind]
    return written


def _made(kind: str, columns: Columns, made: Mapping[str, Any]) -> dict[str, Any]:
    """What made a label: ours where its columns are those that were exported, else that another program wrote them."""
    ours = made.get(kind, {})
    if ours.get("digest") == content_digest(columns):
        return dict(ours["attributes"])
    return {"recipe": "opensceneflow"} if kind == "truth" else {"rule": "opensceneflow"} if kind == "ground" else {}


def mounts_file(path: Path) -> Mounts:
    """Mounts from a file as plain log folders have it; InputError if it is absent or holds none."""
    if not path.is_file():
        raise InputError(f"there is no {path}; give the file with the matrix of up_lidar, see docs/your-data.md")
    return read_mounts(path.read_bytes(), "of the scenes", path.name)


def _mounts(scene: Scene, task: ImportTask) -> Mounts:
    own = {lidar: scene.attributes.get(f"ego_SE3_{lidar}") for lidar in LIDARS}
    if all(mount is not None for mount in own.values()):
        return {lidar: np.asarray(mount, dtype=np.float64) for lidar, mount in own.items()}
    if task.mounts is None:
        raise InputError(
            f"scene {scene.path} does not say where its lidar is; give --mounts FILE with the matrix of up_lidar (the "
            "identity if its points lie in the frame of the poses), see docs/data-formats.md"
        )
    return task.mounts


def _frames(scene: Scene, mounts: Mounts, task: ImportTask) -> Columns:
    stamps = np.array(scene.stamps, dtype=np.int64)
    groups = scene.groups
    own_pairs = [group.attrs.get(PAIR_ATTRIBUTE) for group in groups]
    known = all(pair is not None for pair in own_pairs)
    return {
        **_points(scene, mounts),
        "frame_start": np.cumsum([0, *scene.counts], dtype=np.int64),
        "timestamp_ns": stamps,
        "city_SE3_ego": np.stack([_pose(scene, t) for t in range(len(groups))]),
        "pair_next": np.array(own_pairs, dtype=np.bool_) if known else pair_next(stamps, task.pair_gap_s),
        **{f"ego_SE3_{lidar}": mount for lidar, mount in mounts.items()},
    }


def _pose(scene: Scene, t: int) -> NDArray[np.float64]:
    """The pose in double precision where the scene has it and it is still that of its field."""
    exact = scene.groups[t].attrs.get(POSE_ATTRIBUTE)
    same = exact is not None and np.array_equal(np.asarray(exact, dtype=np.float32), scene.poses[t].astype(np.float32))
    return np.asarray(exact if same else scene.poses[t], dtype=np.float64)


def _points(scene: Scene, mounts: Mounts) -> Columns:
    sweeps = range(len(scene.stamps))
    xyz = np.concatenate([_ego_points(scene, t, mounts["up_lidar"]) for t in sweeps])
    lasers = [np.where(_column(scene, t, "lidar_id", 1) == 2, LOWER_LASER, 0) for t in sweeps]
    offsets = [np.rint(_column(scene, t, "lidar_dt", 0.0) * 1e9) for t in sweeps]
    made: Columns = {
        "intensity": np.zeros(len(xyz)),
        "laser_number": np.concatenate(lasers),
        "offset_ns": np.concatenate(offsets),
    }
    columns: Columns = {"xyz": xyz}
    for name, kind in OWN_COLUMNS.items():
        own = _all(scene, name, kind)
        columns[name] = made[name].astype(kind) if own is None else own
    return columns


def _ego_points(scene: Scene, t: int, ego_SE3_lidar: NDArray[np.float64]) -> NDArray[Any]:
    """Points of a sweep in the ego frame: the exact ones where the scene has them and they are those of its field."""
    stored = scene.points(t)
    if EGO_XYZ in scene.groups[t]:
        exact = unrecorded(scene.groups[t][EGO_XYZ][()])
        if np.array_equal(transform_points(inverse_SE3(ego_SE3_lidar), exact).astype(np.float32), stored):
            return exact
    if np.array_equal(ego_SE3_lidar, np.eye(4)):
        return stored
    return transform_points(ego_SE3_lidar, stored).astype(np.float32)


def _column(scene: Scene, t: int, name: str, absent: float) -> NDArray[Any]:
    return scene.column(t, name) if name in scene.groups[t] else np.full(scene.counts[t], absent)


def _all(scene: Scene, name: str, kind: type[np.generic]) -> NDArray[Any] | None:
    """A column of all points, zero in sweeps without it; None if no sweep has it."""
    there = [name in group for group in scene.groups]
    sweeps = [
        scene.column(t, name).astype(kind) if has else np.zeros(scene.counts[t], kind) for t, has in enumerate(there)
    ]
    return np.concatenate(sweeps) if any(there) else None


def _ground(scene: Scene) -> Columns:
    ground = [scene.column(t, "ground_mask").astype(np.bool_) for t in range(len(scene.stamps))]
    own = {name: column for name in OWN_GROUND if (column := _all(scene, name, np.bool_)) is not None}
    return {"ground": np.concatenate(ground), **own}


def _truth(scene: Scene, frames: Columns) -> Columns | None:
    has = np.array([set(TRUTH) <= set(group) for group in scene.groups]) & frames["pair_next"]
    if not has.any():
        return None
    empty = {"flow": ((3,), np.float32), "valid": ((), np.bool_), "category": ((), np.uint8)}
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in empty}
    for t, count in enumerate(scene.counts):
        found = scene.truth(t) if has[t] else {}
        for name, (tail, dtype) in empty.items():
            columns[name].append(found.get(name, np.zeros((count, *tail), dtype)))
    instance = _all(scene, "flow_instance_id", np.int32)
    points = int(frames["frame_start"][-1])
    return {
        **{name: np.concatenate(values) for name, values in columns.items()},
        "instance": np.zeros(points, np.int32) if instance is None else instance,
        "has_flow": has,
    }


def _dynamic(scene: Scene) -> Columns | None:
    dynamic = _all(scene, "dufo", np.uint8)
    return None if dynamic is None else {"dynamic": dynamic > 0}


def _clusters(scene: Scene) -> Columns | None:
    """0 static, 1 dynamic outside clusters, 2 and up the clusters; what is not dynamic is in no cluster."""
    cluster, dynamic = _all(scene, "dufocluster", np.int16), _dynamic(scene)
    own = _all(scene, OWN_LABEL, np.int16)
    if cluster is not None and own is not None and np.array_equal(np.maximum(own - 1, 0), cluster):
        return {"label": own}
    if cluster is None or dynamic is None:
        return None
    label = np.where(cluster > 0, cluster + 1, 1)
    return {"label": np.where(dynamic["dynamic"], label, 0).astype(np.int16)}


def _predictions(scene: Scene, frames: Columns, task: ImportTask) -> Columns | None:
    fields = result_fields(scene.groups)
    if task.result is None and not fields:
        return None
    if task.result is None and len(fields) > 1:
        raise InputError(f"scene {scene.path} has the results {', '.join(fields)}: name one with --result")
    name = task.result or fields[0]
    has = np.array([name in group for group in scene.groups]) & frames["pair_next"]
    if not has.any():
        raise InputError(f"scene {scene.path} has no result {name} for a pair; it has {', '.join(fields) or 'none'}")
    sweeps = [_residual(scene, frames, t, name) if has[t] else np.zeros((n, 3), np.float32)
              for t, n in enumerate(scene.counts)]  # fmt: skip
    covered = _all(scene, f"{name}_covered", np.bool_)
    points = int(frames["frame_start"][-1])
    return {
        "residual": np.concatenate(sweeps),
        "covered": np.repeat(has, scene.counts) if covered is None else covered[:points],
        "has_flow": has,
    }


def _residual(scene: Scene, frames: Columns, t: int, name: str) -> NDArray[np.float32]:
    """Total flow less the ego motion of ego points, whatever frame its program worked in.

    An exact residual of ours is taken where it is still that of the result.
    """
    total = scene.column(t, name, (3,))
    motion = inverse_SE3(frames["city_SE3_ego"][t + 1]) @ frames["city_SE3_ego"][t]
    rows = slice(int(frames["frame_start"][t]), int(frames["frame_start"][t + 1]))
    rigid = rigid_flow(frames["xyz"][rows], motion)
    own = f"{name}_residual"
    if own in scene.groups[t]:
        exact = unrecorded(scene.groups[t][own][()])
        if np.array_equal((rigid + exact).astype(np.float32), total):
            return np.asarray(exact)
    return np.asarray(total - rigid, dtype=np.float32)
