# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""OpenSceneFlow's HDF5 scenes, results and ground truth both, turned into the files that the evaluation reads.

Its points lie in the frame of the upper lidar while poses and labels are of the ego frame; they are scored as they
are, so the numbers are those of that code's own evaluation and carry its bias in turns.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.geometry import inverse_SE3, rigid_flow
from stages.evaluation.scene import Scene, open_scene
from stages.frames.write import atomic

Columns = Mapping[str, NDArray[Any]]

# Per-point columns of each kind of file: what follows the points' axis, and type.
_LAYOUT: Mapping[str, Mapping[str, tuple[tuple[int, ...], type]]] = {
    "frames": {"xyz": ((3,), np.float32)},
    "truth": {"flow": ((3,), np.float32), "valid": ((), np.bool_), "category": ((), np.uint8)},
    "ground": {"ground": ((), np.bool_), "v1_mask": ((), np.bool_)},
    "predictions": {"residual": ((3,), np.float32), "covered": ((), np.bool_)},
}


def import_scene(path: Path, data: Path, split: str, result: str | None = None) -> dict[str, Path]:
    """Write frames, truth, ground and predictions of one scene, holding one sweep of it in memory.

    Args:
        path: the scene, `<scene>.h5`.
        data: folder that takes the files, `<kind>/<split>/<scene>.h5`.
        split: name of their split.
        result: field that holds the result; by default the one (N, 3) field that is not an input.

    Returns:
        the files by kind.

    Raises:
        InputError: no result, several of them, no ground truth, or a field that is missing or of a wrong shape.
    """
    paths = {kind: data / kind / split / f"{path.stem}.h5" for kind in _LAYOUT}
    with open_scene(path, result) as scene, ExitStack() as stack:
        files = {kind: stack.enter_context(_created(file)) for kind, file in paths.items()}
        start = np.cumsum([0, *scene.counts]).astype(np.int64)
        _prepare(files, int(start[-1]))
        digest = hashlib.sha256(start.tobytes() + scene.poses.tobytes())
        for t in range(len(scene.stamps)):
            sweep = _sweep(scene, t)
            digest.update(np.ascontiguousarray(sweep["frames"]["xyz"]).data if scene.counts[t] else b"")
            for kind, columns in sweep.items():
                for name, values in columns.items():
                    files[kind][name][start[t] : start[t + 1]] = values
        _write_log_columns(files, scene, start)
        _write_attributes(files, scene, digest.hexdigest())
    return paths


@contextmanager
def _created(path: Path) -> Iterator[h5py.File]:
    with (
        atomic(path) as temporary,
        h5py.File(temporary, "w", libver="v110", alignment_threshold=1, alignment_interval=64) as file,
    ):
        yield file


def _prepare(files: Mapping[str, h5py.File], points: int) -> None:
    for kind, columns in _LAYOUT.items():
        for name, (tail, dtype) in columns.items():
            files[kind].create_dataset(name, (points, *tail), dtype, track_times=False)


def _sweep(scene: Scene, t: int) -> dict[str, Columns]:
    """Per-point columns of one sweep, by kind of file; without truth or result they are zero."""
    points, mask, count = scene.points(t), scene.mask(t), scene.counts[t]
    sweep: dict[str, Columns] = {"frames": {"xyz": points}, "ground": {"ground": ~mask, "v1_mask": mask}}
    if scene.paired[t]:
        sweep["truth"] = scene.truth(t)
    sweep["predictions"] = {"covered": np.ones(count, dtype=np.bool_)}
    if scene.has_result(t):
        total = scene.total_flow(t)
        rigid = rigid_flow(points, inverse_SE3(scene.poses[t + 1]) @ scene.poses[t])
        sweep["predictions"] = {**sweep["predictions"], "residual": (total - rigid).astype(np.float32)}
    return sweep


def _write_log_columns(files: Mapping[str, h5py.File], scene: Scene, start: NDArray[np.int64]) -> None:
    has_result = np.array([scene.has_result(t) for t in range(len(scene.stamps))], dtype=np.bool_)
    columns: dict[str, Columns] = {
        "frames": {
            "frame_start": start,
            "timestamp_ns": np.array(scene.stamps, dtype=np.int64),
            "city_SE3_ego": scene.poses,
            "pair_next": scene.paired,
        },
        "truth": {"has_flow": scene.paired},
        "predictions": {"has_flow": has_result},
    }
    for kind, values in columns.items():
        for name, column in values.items():
            files[kind].create_dataset(name, data=column, track_times=False)


def _write_attributes(files: Mapping[str, h5py.File], scene: Scene, digest: str) -> None:
    special = {
        "frames": {"digest": digest},
        "truth": {"frames_digest": digest, "recipe": "opensceneflow"},
        "ground": {"frames_digest": digest, "rule": "ground_mask of OpenSceneFlow"},
        "predictions": {"frames_digest": digest, "result": scene.result},
    }
    for kind, attributes in special.items():
        files[kind].attrs.update({"schema": f"{kind}/1", "log_id": scene.path.stem, **attributes})
