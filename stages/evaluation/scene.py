# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""OpenSceneFlow's HDF5 scenes, read a sweep at a time, each field checked before it is used."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

TRUTH = ("flow", "flow_is_valid", "flow_category_indices")
_INPUTS = frozenset(("lidar", "pose", "ground_mask", "eval_mask", *TRUTH))
_LAST_CATEGORY = 30


@dataclass(frozen=True)
class Scene:
    """An open scene.

    Attributes:
        path: its file.
        groups: HDF5 group of each sweep, in order of time.
        stamps: time of each sweep, nanoseconds.
        poses: city_SE3_ego of each sweep  # (T, 4, 4)
        counts: number of points of each sweep.
        paired: sweeps with ground truth and a next sweep  # (T,)
        result: field that holds the result, empty where none was asked for.
        attributes: of the file.
    """

    path: Path
    groups: list[h5py.Group]
    stamps: list[int]
    poses: NDArray[np.float64]
    counts: list[int]
    paired: NDArray[np.bool_]
    result: str
    attributes: Mapping[str, Any]

    def has_result(self, t: int) -> bool:
        """Whether the flow of a pair was predicted."""
        return bool(self.paired[t]) and self.result in self.groups[t]

    def points(self, t: int) -> NDArray[np.float32]:
        """Points of a sweep as they are stored, metres  # (N, 3)."""
        return _read(self, t, "lidar")[:, :3].astype(np.float32)

    def mask(self, t: int) -> NDArray[np.bool_]:
        """Points that the published evaluation scores: not ground, in the scene's own mask where it has one  # (N,)."""
        solid = ~self.column(t, "ground_mask").astype(np.bool_)
        if "eval_mask" in self.groups[t]:
            solid &= self.column(t, "eval_mask", (1,)).reshape(-1).astype(np.bool_)
        return solid

    def truth(self, t: int) -> dict[str, NDArray[Any]]:
        """Flow, validity and category of a pair's points; labels that are NaN are not valid, as in that code."""
        flow = self.column(t, "flow", (3,)).astype(np.float32)
        known: NDArray[np.bool_] = np.asarray(np.isfinite(flow).all(axis=1))
        category = self.column(t, "flow_category_indices")
        if len(category) and not 0 <= category.min() <= category.max() <= _LAST_CATEGORY:
            raise _fault(self.path, self.stamps[t], "flow_category_indices", f"has values beyond {_LAST_CATEGORY}")
        return {
            "flow": np.where(known[:, None], flow, 0).astype(np.float32),
            "valid": self.column(t, "flow_is_valid").astype(np.bool_) & known,
            "category": category.astype(np.uint8),
        }

    def total_flow(self, t: int) -> NDArray[Any]:
        """The result of a pair  # (N, 3)."""
        return self.column(t, self.result, (3,))

    def column(self, t: int, name: str, tail: tuple[int, ...] = ()) -> NDArray[Any]:
        """A field with a row for each point; a single column may be stored with or without its axis."""
        values, points = _read(self, t, name), self.counts[t]
        if values.shape != (points, *tail) and (tail != (1,) or values.shape != (points,)):
            raise _fault(
                self.path, self.stamps[t], name, f"has shape {values.shape}, but the sweep has {points} points"
            )
        return values


def _read(scene: Scene, t: int, name: str) -> NDArray[Any]:
    return read_field(scene.path, scene.stamps[t], scene.groups[t], name)


def read_field(path: Path, stamp: int, group: h5py.Group, name: str) -> NDArray[Any]:
    """A field of a sweep as an array of numbers; InputError names scene, sweep and field."""
    if name not in group:
        raise _fault(path, stamp, name, "is missing")
    try:
        values = np.asarray(group[name][()])
    except (OSError, TypeError, ValueError) as error:
        raise _fault(path, stamp, name, f"cannot be read ({error})") from error
    if values.dtype.kind not in "biuf":
        raise _fault(path, stamp, name, "holds no numbers")
    return values


def _fault(path: Path, stamp: int, name: str, what: str) -> InputError:
    remedy = "extract the scene again" if name in _INPUTS else "write the result again"
    return InputError(f"scene {path}, sweep {stamp}: field {name} {what}; {remedy}")


def is_opensceneflow(path: Path) -> bool:
    """Whether an HDF5 file is a scene of groups named by time, and none of ours."""
    with _opened(path) as file:
        return "schema" not in file.attrs and len(file) > 0 and all(name.isdigit() for name in file)


def num_sweeps(path: Path) -> int:
    """Number of sweeps of a scene."""
    with _opened(path) as file:
        return len(file)


@contextmanager
def open_scene(path: Path, result: str | None = None) -> Iterator[Scene]:
    """Open a scene.

    Args:
        path: the scene, `<scene>.h5`.
        result: field that holds the result; by default the one (N, 3) field that is not an input.

    Raises:
        InputError: no result, several of them, no ground truth, or a sweep without points or pose.
    """
    with _opened(path) as file:
        stamps, groups = _groups(path, file)
        field = result or _result_field(path, groups)
        scene = _scene(path, file, stamps, groups, field)
        if not scene.paired.any():
            raise InputError(f"scene {path} has no ground truth (fields {', '.join(TRUTH)}); extract it with labels")
        if not any(field in group for group in groups):
            raise InputError(f"scene {path} has no result {field} to score; write it into the scene")
        yield scene


@contextmanager
def open_sweeps(path: Path) -> Iterator[Scene]:
    """Open a scene that may lack labels and results; InputError for a sweep without points or pose."""
    with _opened(path) as file:
        stamps, groups = _groups(path, file)
        if not groups:
            raise InputError(f"scene {path} has no sweeps; extract it again")
        yield _scene(path, file, stamps, groups, "")


def _scene(path: Path, file: h5py.File, stamps: list[int], groups: list[h5py.Group], result: str) -> Scene:
    has_truth = [set(TRUTH) <= set(group) for group in groups]
    paired = np.array([*has_truth[:-1], False], dtype=np.bool_)
    counts = [_count(path, stamp, group) for stamp, group in zip(stamps, groups, strict=True)]
    poses = np.stack([_pose(path, stamp, group) for stamp, group in zip(stamps, groups, strict=True)])
    return Scene(path, groups, stamps, poses, counts, paired, result, dict(file.attrs))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5 ({error}); fetch it again") from error
    with file:
        yield file


def _groups(path: Path, file: h5py.File) -> tuple[list[int], list[h5py.Group]]:
    names = sorted(file, key=int)
    for name in names:
        if not isinstance(file[name], h5py.Group):
            raise InputError(f"scene {path}, sweep {name} is no group of fields; extract the scene again")
    return [int(name) for name in names], [file[name] for name in names]


def _result_field(path: Path, groups: list[h5py.Group]) -> str:
    """The one field of three columns that is neither points nor true flow."""
    fields = result_fields(groups)
    if len(fields) != 1:
        found = f"the results {', '.join(fields)}: name one with --result" if fields else "no result to score"
        raise InputError(f"scene {path} has {found}")
    return fields[0]


def result_fields(groups: list[h5py.Group]) -> list[str]:
    """Names of the fields of three columns that are neither points nor true flow, sorted."""
    return sorted({name for group in groups for name, field in group.items() if _is_result(name, field)})


def _is_result(name: str, field: Any) -> bool:
    return name not in _INPUTS and isinstance(field, h5py.Dataset) and field.shape[1:] == (3,)


def _count(path: Path, stamp: int, group: Mapping[str, Any]) -> int:
    shape = getattr(group.get("lidar"), "shape", None)
    if shape is None:
        raise _fault(path, stamp, "lidar", "is missing")
    if len(shape) != 2 or shape[1] < 3:
        raise _fault(path, stamp, "lidar", f"has shape {shape} and not x, y and z of each point")
    return int(shape[0])


def _pose(path: Path, stamp: int, group: h5py.Group) -> NDArray[np.float64]:
    pose = read_field(path, stamp, group, "pose").astype(np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise _fault(path, stamp, "pose", f"of shape {pose.shape} is no finite (4, 4) matrix")
    return pose
