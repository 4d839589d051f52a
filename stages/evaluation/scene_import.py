# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""OpenSceneFlow's HDF5 scenes, results and ground truth both, turned into the files that the evaluation reads.

Its points lie in the frame of the upper lidar while poses and labels are of the ego frame; they are scored as they
are, so the numbers are those of that code's own evaluation and carry its bias in turns.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.geometry import inverse_SE3, rigid_flow
from stages.frames.write import content_digest, write_columns

_READ = frozenset(("lidar", "pose", "ground_mask", "eval_mask", "flow", "flow_is_valid", "flow_category_indices"))

Sweeps = list[Mapping[str, NDArray[Any]]]


def is_opensceneflow(path: Path) -> bool:
    """Whether an HDF5 file is a scene of groups named by time, and none of ours."""
    try:
        with h5py.File(path, "r") as file:
            return "schema" not in file.attrs and len(file) > 0 and all(name.isdigit() for name in file)
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5 ({error}); fetch it again") from error


def import_scene(path: Path, data: Path, split: str, result: str | None = None) -> None:
    """Write frames, truth, ground and predictions of one scene under `data/<kind>/<split>`.

    Args:
        path: the scene, `<scene>.h5`.
        data: folder that takes the files.
        split: name of their split.
        result: field that holds the result; by default the one (N, 3) field that is not an input.

    Raises:
        InputError: no result, several of them, no ground truth, or a result of another number of rows.
    """
    with h5py.File(path, "r") as file:
        stamps = sorted(int(name) for name in file)
        field = result or _result_field(path, file)
        wanted = {*_READ, field}
        sweeps: Sweeps = [{k: v[()] for k, v in file[str(stamp)].items() if k in wanted} for stamp in stamps]
    paired = np.array([_has_truth(sweep) and i + 1 < len(sweeps) for i, sweep in enumerate(sweeps)])
    if not paired.any():
        raise InputError(f"{path} has no ground truth (fields flow, flow_is_valid, flow_category_indices)")
    frames = _frames(sweeps, stamps, paired)
    digest = content_digest(frames)
    of_log = {"log_id": path.stem, "frames_digest": digest}

    def write(kind: str, columns: Mapping[str, NDArray[Any]], **attributes: str) -> None:
        write_columns(data / kind / split / f"{path.stem}.h5", f"{kind}/1", columns, attributes)

    write("frames", frames, log_id=path.stem, digest=digest)
    write("truth", _truth(sweeps, paired), recipe="opensceneflow", **of_log)
    mask = _column(sweeps, _mask)
    write("ground", {"ground": ~mask, "v1_mask": mask}, rule="ground_mask of OpenSceneFlow", **of_log)
    write("predictions", _predictions(path, sweeps, frames, paired, field), result=field, **of_log)


def _result_field(path: Path, file: h5py.File) -> str:
    """The one field of three columns that is neither points nor true flow."""
    fields: list[str] = sorted(
        {k for group in file.values() for k, v in group.items() if k not in _READ and v.shape[1:] == (3,)}
    )
    if len(fields) != 1:
        found = f"the results {', '.join(fields)}: name one with --result" if fields else "no result to score"
        raise InputError(f"{path} has {found}")
    return fields[0]


def _has_truth(sweep: Mapping[str, NDArray[Any]]) -> bool:
    return {"flow", "flow_is_valid", "flow_category_indices"} <= sweep.keys()


def _mask(sweep: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    solid = ~np.asarray(sweep["ground_mask"], dtype=np.bool_)
    return solid & sweep["eval_mask"].reshape(-1).astype(np.bool_) if "eval_mask" in sweep else solid


def _column(sweeps: Sweeps, of: Any) -> NDArray[Any]:
    return np.concatenate([of(sweep) for sweep in sweeps])


def _frames(sweeps: Sweeps, stamps: list[int], paired: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    counts = [len(sweep["lidar"]) for sweep in sweeps]
    return {
        "xyz": _column(sweeps, lambda sweep: sweep["lidar"][:, :3].astype(np.float32)),
        "frame_start": np.cumsum([0, *counts]).astype(np.int64),
        "timestamp_ns": np.array(stamps, dtype=np.int64),
        "city_SE3_ego": np.stack([sweep["pose"].astype(np.float64) for sweep in sweeps]),
        "pair_next": paired,
    }


def _truth(sweeps: Sweeps, paired: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    def of(name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        return np.concatenate(
            [
                sweep[name].astype(dtype) if pair else np.zeros((len(sweep["lidar"]), *shape), dtype)
                for sweep, pair in zip(sweeps, paired, strict=True)
            ]
        )

    flow, valid = of("flow", (3,), np.float32), of("flow_is_valid", (), np.bool_)
    known = np.isfinite(flow).all(axis=1)  # the published evaluation drops labels that are NaN
    return {
        "flow": np.where(known[:, None], flow, 0).astype(np.float32),
        "valid": valid & known,
        "category": of("flow_category_indices", (), np.uint8),
        "has_flow": paired,
    }


def _predictions(
    path: Path, sweeps: Sweeps, frames: Mapping[str, NDArray[Any]], paired: NDArray[np.bool_], field: str
) -> dict[str, NDArray[Any]]:
    """Residuals of the stored total flow, against the rigid flow of the stored points and poses."""
    poses, residuals = frames["city_SE3_ego"], []
    there = np.array([pair and field in sweep for sweep, pair in zip(sweeps, paired, strict=True)])
    for t, sweep in enumerate(sweeps):
        points = sweep["lidar"][:, :3].astype(np.float64)
        if not there[t]:
            residuals.append(np.zeros((len(points), 3), dtype=np.float32))
            continue
        if sweep[field].shape != points.shape:
            raise InputError(
                f"{path}, {frames['timestamp_ns'][t]}: {field} has {len(sweep[field])} rows and the sweep "
                f"{len(points)} points; write the result again"
            )
        rigid = rigid_flow(points, inverse_SE3(poses[t + 1]) @ poses[t])
        residuals.append((sweep[field] - rigid).astype(np.float32))
    return {
        "residual": np.concatenate(residuals),
        "covered": np.ones(sum(map(len, residuals)), dtype=np.bool_),
        "has_flow": there,
    }
