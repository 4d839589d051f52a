# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The official packages as the tests drive them: av2 (v1) and bucketed_scene_flow_eval (v2)."""

import contextlib
import importlib
import io
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

AV2_LOG = "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
PANDASET_LOG = "c2204705-d539-5dde-b5e0-969ac1b0f9f7"
FLOW = ("flow_tx_m", "flow_ty_m", "flow_tz_m")
PREDICTIONS = ("zero", "ego", "gt", "half", "wave")


def real_log(log_id: str, split: str = "val") -> Path:
    """Root that holds a real log; the test is skipped where there is none."""
    root = os.environ.get("AV2_ROOT")
    if not root:
        pytest.skip("AV2_ROOT is not set: it names the folder that holds sensor/<split>/<log>")
    if not (Path(root) / "sensor" / split / log_id).is_dir():
        pytest.skip(f"AV2_ROOT={root} has no log sensor/{split}/{log_id}")
    return Path(root).resolve()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def import_v2() -> None:
    """Import the v2 package, which wants open3d for drawing alone, with a stand-in for that."""

    class Anything:
        def __getattr__(self, _: str) -> "Anything":
            return Anything()

        def __call__(self, *_: Any, **__: Any) -> "Anything":
            return Anything()

        def __mro_entries__(self, _: Any) -> tuple[type, ...]:
            return (object,)

    def found(name: str) -> Anything:
        if name.startswith("__"):  # what tools that look through all modules ask for, say __file__
            raise AttributeError(name)
        return Anything()

    if "open3d" not in sys.modules:
        stub = types.ModuleType("open3d")
        stub.__getattr__ = found  # type: ignore[method-assign]
        sys.modules["open3d"] = stub
    importlib.import_module("bucketed_scene_flow_eval")


def wave(n: int) -> NDArray[np.float64]:
    i = np.arange(n, dtype=np.float64)
    size = 0.12 * np.abs(np.sin(0.01 * i))
    return np.stack([size * np.cos(0.1 * i), size * np.sin(0.1 * i), np.zeros_like(i)], axis=1)


def total_predictions(flow: NDArray[Any], rigid: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """The five predictions of the golden numbers, as total flow."""
    flow, rigid = flow.astype(np.float64), rigid.astype(np.float64)
    return {
        "zero": np.zeros_like(flow),
        "ego": rigid.copy(),
        "gt": flow.copy(),
        "half": rigid + 0.5 * (flow - rigid),
        "wave": flow + wave(len(flow)),
    }


@dataclass(frozen=True)
class Av2Pair:
    """The first pair of a split through av2's own loader."""

    points: NDArray[np.float32]
    rigid: NDArray[np.float32]
    flow: NDArray[np.float32]
    category: NDArray[np.uint8]
    dynamic: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    ground: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    stamps: tuple[int, int]


def av2_pair(root: Path, split: str = "val") -> Av2Pair:
    import torch
    from av2.evaluation.scene_flow.utils import compute_eval_point_mask
    from av2.torch.data_loaders.scene_flow import SceneFlowDataloader
    from kornia.geometry.linalg import transform_points

    with quiet(), torch.no_grad():
        loader = SceneFlowDataloader(root.parent, root.name, split)
        sweep0, sweep1, ego, labels = loader[0]
        points = sweep0.lidar.as_tensor()[:, :3]
        rigid = transform_points(ego.matrix(), points[None])[0] - points
        mask = compute_eval_point_mask((sweep0, sweep1, ego, labels)).numpy()
    return Av2Pair(
        points=points.numpy(),
        rigid=rigid.numpy(),
        flow=labels.flow.numpy(),
        category=labels.category_indices.numpy(),
        dynamic=labels.is_dynamic.numpy(),
        valid=labels.is_valid.numpy(),
        ground=sweep0.is_ground.numpy(),
        mask=mask,
        stamps=(sweep0.sweep_uuid[1], sweep1.sweep_uuid[1]),
    )


def poses_of(log: Path, *stamps: int) -> list[Any]:
    from av2.datasets.sensor.av2_sensor_dataloader import convert_pose_dataframe_to_SE3
    from av2.utils.io import read_feather

    poses = read_feather(log / "city_SE3_egovehicle.feather")
    return [convert_pose_dataframe_to_SE3(poses.loc[poses["timestamp_ns"] == stamp]) for stamp in stamps]


def boxes_of(log: Path, stamp: int) -> list[tuple[str, Any]]:
    """Track and cuboid of each annotation of a sweep, in file order."""
    from av2.structures.cuboid import CuboidList
    from av2.utils.io import read_feather

    rows = read_feather(log / "annotations.feather")
    rows = rows.loc[rows["timestamp_ns"] == stamp].reset_index(drop=True)
    return list(zip(rows["track_uuid"], CuboidList.from_dataframe(rows).cuboids, strict=True))


@dataclass(frozen=True)
class V2Labels:
    """v2's labels of a pair: residual flow in the axes of ego frame 0, and the motion that they are relative to."""

    points: NDArray[np.float64]
    residual: NDArray[np.float32]
    valid: NDArray[np.bool_]
    category: NDArray[np.uint8]
    ego1_SE3_ego0: NDArray[np.float64]


def v2_labels(log: Path, stamps: tuple[int, int]) -> V2Labels:
    """Labels by v2's rule with av2's boxes: every box counts, length and width grow by 0.2 m."""
    from av2.structures.sweep import Sweep

    from stages.labels.categories import CATEGORY_ID

    city0, city1 = poses_of(log, *stamps)
    ego = city1.inverse().compose(city0)
    ego.rotation, ego.translation = ego.rotation.astype(np.float32), ego.translation.astype(np.float32)
    later = dict(boxes_of(log, stamps[1]))
    points = Sweep.from_feather(log / "sensors" / "lidar" / f"{stamps[0]}.feather").xyz
    residual = np.zeros((len(points), 3), dtype=np.float32)
    valid = np.ones(len(points), dtype=bool)
    category = np.zeros(len(points), dtype=np.uint8)
    for track, box in boxes_of(log, stamps[0]):
        box.length_m += 0.2
        box.width_m += 0.2
        inner, inside = box.compute_interior_points(points)
        category[inside] = CATEGORY_ID[box.category]
        if track not in later:
            valid[inside] = False
            continue
        motion = ego.inverse().compose(later[track].dst_SE3_object.compose(box.dst_SE3_object.inverse()))
        residual[inside] = (motion.transform_point_cloud(inner) - inner).astype(np.float32)
    return V2Labels(points, residual, valid, category, ego.transform_matrix.astype(np.float64))


def write_v2_labels(folder: Path, name: str, labels: V2Labels) -> None:
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    columns = {column: labels.residual[:, i] for i, column in enumerate(FLOW)}
    classes = (labels.category.astype(np.int16) - 1).astype(np.int8)
    pd.DataFrame({**columns, "is_valid": labels.valid, "classes_0": classes}).to_feather(folder / f"{name}.feather")


def v2_results(
    data: Path, labels: Path, predictions: Path, work: Path, kind: str = "bucketed_epe"
) -> dict[str, dict[str, tuple[float, float]]]:
    """Run the official v2 evaluator over folders; class -> (static, dynamic), within 35 m and unlimited."""
    import_v2()
    from bucketed_scene_flow_eval.datasets import Argoverse2CausalSceneFlow

    def dataset(folder: Path, with_labels: bool) -> Any:
        return Argoverse2CausalSceneFlow(
            root_dir=data,
            flow_data_path=folder,
            with_ground=False,
            with_rgb=False,
            use_gt_flow=with_labels,
            use_cache=False,
            eval_type=kind,
            eval_args={"output_path": work / "out"},
            cache_root=work / "cache",
        )

    with quiet():
        truth, guess = dataset(labels, True), dataset(predictions, False)
        evaluator = truth.evaluator()
        for index in range(len(truth)):
            evaluator.eval(guess[index][0].flow, truth[index][0])
        near = evaluator.compute_results(save_results=False)
        far = evaluator.compute_results(save_results=False, return_distance_threshold=np.inf)
    return {"35": near, "inf": far}


@dataclass(frozen=True)
class UpstreamLabels:
    """A pair as OpenSceneFlow extracts it: points as the upper lidar sees them, poses and labels of the ego frame."""

    points: NDArray[np.float64]
    poses: tuple[NDArray[np.float32], NDArray[np.float32]]
    pose_flow: NDArray[np.float64]
    flow: NDArray[np.float64]
    valid: NDArray[np.bool_]
    category: NDArray[np.uint8]


def upstream_labels(log: Path, stamps: tuple[int, int]) -> UpstreamLabels:
    """Labels by the published rule, in which a moving box grows by the norm over all its points."""
    from av2.structures.sweep import Sweep
    from av2.utils.io import read_ego_SE3_sensor

    from stages.labels.categories import CATEGORY_ID

    city0, city1 = poses_of(log, *stamps)
    ego = city1.inverse().compose(city0)
    ego.rotation, ego.translation = ego.rotation.astype(np.float32), ego.translation.astype(np.float32)
    points = Sweep.from_feather(log / "sensors" / "lidar" / f"{stamps[0]}.feather").xyz
    later = dict(boxes_of(log, stamps[1]))
    flow = ego.transform_point_cloud(points) - points
    valid = np.ones(len(points), dtype=bool)
    category = np.zeros(len(points), dtype=np.uint8)
    for (track, box), (_, grown) in zip(boxes_of(log, stamps[0]), boxes_of(log, stamps[0]), strict=True):
        inner, inside = box.compute_interior_points(points)
        if track not in later:
            valid[inside] = False
            continue
        move = later[track].dst_SE3_object.compose(box.dst_SE3_object.inverse())
        world = ego.inverse().compose(move).transform_point_cloud(inner) - inner
        delta = np.linalg.norm(world, axis=0).mean() if len(world) else 0.0
        if delta > 0.04:
            grown.length_m += 0.2 + min(delta / 2, 2.0)
            grown.width_m += 0.2
            grown.height_m += 0.2
        inner, inside = grown.compute_interior_points(points)
        flow[inside] = move.transform_point_cloud(inner) - inner
        category[inside] = CATEGORY_ID[box.category]
    sensor = read_ego_SE3_sensor(log)["up_lidar"].inverse()
    seen = sensor.transform_point_cloud(points).astype(np.float32)
    stored0, stored1 = (pose.transform_matrix.astype(np.float32).astype(np.float64) for pose in (city0, city1))
    inverse = np.eye(4)
    inverse[:3, :3], inverse[:3, 3] = stored1[:3, :3].T, -stored1[:3, :3].T @ stored1[:3, 3]
    step = (inverse @ stored0).astype(np.float32)
    pose_flow = (seen @ step[:3, :3].T + step[:3, 3] - seen).astype(np.float32)
    flow32 = flow.astype(np.float32).astype(np.float64)
    poses = (stored0.astype(np.float32), stored1.astype(np.float32))
    return UpstreamLabels(seen.astype(np.float64), poses, pose_flow.astype(np.float64), flow32, valid, category)
