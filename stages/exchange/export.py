# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Our files of a log as one of OpenSceneFlow's scenes."""

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from models.geometry import inverse_SE3, rigid_flow, transform_points
from stages.evaluation.masks import MaskZip, open_masks
from stages.evaluation.scene import is_opensceneflow
from stages.evaluation.selection import v1_frames
from stages.exchange.fields import (
    ATTRIBUTE,
    EGO_XYZ,
    LOWER_LASER,
    OWN_COLUMNS,
    OWN_GROUND,
    OWN_LABEL,
    PAIR_ATTRIBUTE,
    POINT_FIELDS,
    POSE_ATTRIBUTE,
    SWEEP_FIELDS,
    records,
)
from stages.frames.write import atomic, content_digest

Fields = dict[str, NDArray[Any]]
_OPTIONAL = ("truth", "dynamic", "clusters", "predictions")


@dataclass(frozen=True)
class LogParts:
    """What there is of one log.

    Attributes:
        frames: its frames.
        labels: label and prediction files by kind; `ground` is always there.
        result: field that takes the predicted flow.
    """

    frames: LogFrames
    labels: Mapping[str, LogColumns]
    result: str

    @classmethod
    def open(cls, data: Path, split: str, log_id: str, result: str) -> "LogParts":
        """Open `<data>/<kind>/<split>/<log_id>.h5` of every kind that exists; InputError without frames or ground."""
        frames = LogFrames.open(data / "frames" / split / f"{log_id}.h5")
        paths = {kind: data / kind / split / f"{log_id}.h5" for kind in ("ground", *_OPTIONAL)}
        there = {kind: path for kind, path in paths.items() if kind == "ground" or path.exists()}
        labels = {kind: LogColumns.open(path, f"{kind}/1", frames) for kind, path in there.items()}
        if result in POINT_FIELDS or result in SWEEP_FIELDS:
            raise InputError(f"--result {result} is a field of the layout; name the result otherwise")
        return cls(frames, labels, result)

    def rows(self, kind: str, name: str, t: int) -> NDArray[Any]:
        """A label column of one sweep  # (N, ...)."""
        return np.asarray(self.labels[kind].column(name)[self.frames.span(t)])

    def has_flow(self, kind: str, t: int) -> bool:
        """Whether truth or predictions hold the flow of this sweep."""
        return kind in self.labels and bool(self.labels[kind].column("has_flow")[t])


def export_split(
    data: Path, split: str, logs: Sequence[str], output: Path, result: str, mask_zip: Path | None
) -> list[Path]:
    """Write `<output>/<log>.h5` for each log, and the layout's indices of all scenes in the folder.

    Args:
        data: folder that holds `<kind>/<split>/<log>.h5`.
        split: the split.
        logs: ids of its logs.
        output: folder that takes the scenes.
        result: field that takes the predicted flow, where there are predictions.
        mask_zip: official v1 mask zip, which gives `eval_mask`; without it scenes have none.
    """
    with open_masks(mask_zip) as masks:
        for log_id in logs:
            export_log(LogParts.open(data, split, log_id, result), output / f"{log_id}.h5", masks)
    _write_indices(output)
    return [output / f"{log_id}.h5" for log_id in logs]


def export_log(parts: LogParts, path: Path, masks: MaskZip | None = None) -> None:
    """Write one scene; InputError if a track's number is too great for the layout."""
    frames = parts.frames
    scored = set(v1_frames(frames, masks, 0)) if masks else set()
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="v110") as file:
        file.attrs[ATTRIBUTE] = json.dumps(_made(parts), sort_keys=True)
        for lidar, mount in frames.ego_SE3_lidar.items():
            file.attrs[f"ego_SE3_{lidar}"] = mount
        for t, stamp in enumerate(frames.timestamp_ns.tolist()):
            group = file.create_group(str(stamp))
            group.attrs[POSE_ATTRIBUTE] = frames.city_SE3_ego[t]
            group.attrs[PAIR_ATTRIBUTE] = bool(frames.pair_next[t])
            fields = {**_frame_fields(parts, t), **_truth_fields(parts, t), **_label_fields(parts, t)}
            if masks and t in scored:
                fields["eval_mask"] = masks.mask(frames, t)[:, None]
            for name, values in {**fields, **_result_fields(parts, t)}.items():
                group.create_dataset(name, data=np.ascontiguousarray(values), track_times=False)


def _made(parts: LogParts) -> dict[str, dict[str, Any]]:
    """Of each of our files what made it and the digest of its columns: on import it holds for those columns alone."""
    return {
        kind: {
            "attributes": {k: v for k, v in file.attributes.items() if k not in ("schema", "frames_digest")},
            "digest": content_digest(file.columns),
        }
        for kind, file in parts.labels.items()
    }


def _frame_fields(parts: LogParts, t: int) -> Fields:
    frames, rows = parts.frames, parts.frames.span(t)
    lidar_SE3_ego = inverse_SE3(frames.ego_SE3_lidar["up_lidar"])
    ground = parts.labels["ground"]
    return {
        "lidar": transform_points(lidar_SE3_ego, frames.xyz(t)).astype(np.float32),
        "pose": frames.city_SE3_ego[t].astype(np.float32),
        "ground_mask": parts.rows("ground", "ground", t),
        "lidar_id": np.where(frames.column("laser_number")[rows] < LOWER_LASER, 1, 2).astype(np.uint8),
        "lidar_dt": (frames.column("offset_ns")[rows] / 1e9).astype(np.float32),
        EGO_XYZ: records(np.asarray(frames.xyz(t))),
        **{name: np.asarray(frames.column(name)[rows]) for name in OWN_COLUMNS},
        **{name: parts.rows("ground", name, t) for name in OWN_GROUND if ground.has(name)},
    }


def _truth_fields(parts: LogParts, t: int) -> Fields:
    if not parts.has_flow("truth", t):
        return {}
    instance = parts.rows("truth", "instance", t)
    if instance.size and instance.max() > np.iinfo(np.int16).max:
        raise InputError(f"log {parts.frames.log_id} has more tracks than the layout's int16 can number; split the log")
    return {
        "flow": parts.rows("truth", "flow", t),
        "flow_is_valid": parts.rows("truth", "valid", t),
        "flow_category_indices": parts.rows("truth", "category", t),
        "flow_instance_id": instance.astype(np.int16),
        "ego_motion": parts.frames.ego1_SE3_ego0(t).astype(np.float32),
    }


def _label_fields(parts: LogParts, t: int) -> Fields:
    """`dufo` marks dynamic points; `dufocluster` numbers their clusters from 1, where ours start at 2."""
    fields: Fields = {}
    if "dynamic" in parts.labels:
        fields["dufo"] = parts.rows("dynamic", "dynamic", t).astype(np.uint8)
    if "clusters" in parts.labels:
        label = parts.rows("clusters", "label", t)
        fields |= {"dufocluster": np.maximum(label - 1, 0).astype(np.int16), OWN_LABEL: label}
    return fields


def _result_fields(parts: LogParts, t: int) -> Fields:
    """Total flow of ego points, as `flow` is, and beside it the residual and which points the network covered."""
    if not parts.has_flow("predictions", t):
        return {}
    residual = parts.rows("predictions", "residual", t)
    rigid = rigid_flow(parts.frames.xyz(t), parts.frames.ego1_SE3_ego0(t))
    return {
        parts.result: (rigid + residual).astype(np.float32),
        f"{parts.result}_residual": records(residual),
        f"{parts.result}_covered": parts.rows("predictions", "covered", t),
    }


def _write_indices(folder: Path) -> None:
    """The layout's lists of [scene, time] as pickles, which its loaders want: all sweeps, with flow, to be scored.

    A list that would be empty is taken away, also one of an earlier export; files that are no scenes are passed over.
    """
    lists: dict[str, list[list[str]]] = {"total": [], "flow": [], "eval": []}
    for path in sorted(folder.glob("*.h5")):
        if not (h5py.is_hdf5(path) and is_opensceneflow(path)):
            continue
        with h5py.File(path, "r") as file:
            for stamp in sorted(file, key=int):
                for name, field in (("total", "lidar"), ("flow", "flow"), ("eval", "eval_mask")):
                    if field in file[stamp]:
                        lists[name].append([path.stem, stamp])
    for name, entries in lists.items():
        index = folder / f"index_{name}.pkl"
        if not entries and name != "total":
            index.unlink(missing_ok=True)
            continue
        with atomic(index) as temporary:
            temporary.write_bytes(pickle.dumps(entries, protocol=4))
