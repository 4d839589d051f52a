# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A teacher's flow becomes labels, from weights and from every format of predictions; ZeroFlow end to end."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest

from models.data.augment import AugmentParameters
from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from models.geometry import rigid_flow
from models.training.parameters import TrainParameters
from models.weights import load_weights
from stages.frames.write import write_columns
from stages.learning.predict import PredictRule, predict_file
from stages.learning.teach import TeachParameters, convert_file, is_weights
from stages.learning.train import train_flow
from tests.models.synthetic import write_log
from tests.models.test_training import moving_error


@pytest.fixture
def log(tmp_path: Path) -> LogFrames:
    write_log(tmp_path / "data", "train", "log0")
    return LogFrames.open(tmp_path / "data/frames/train/log0.h5")


def convert(tmp_path: Path, source: Path) -> LogColumns:
    inputs = {kind: tmp_path / f"data/{kind}/train/log0.h5" for kind in ("frames", "ground")}
    convert_file("log0", {**inputs, "source": source}, {"predictions": tmp_path / "out.h5"})
    return LogColumns.open(tmp_path / "out.h5", "predictions/1", LogFrames.open(inputs["frames"]))


def residual_of(log: LogFrames, t: int) -> np.ndarray:
    """Some flow that differs from point to point."""
    return np.random.default_rng(t).normal(size=(len(log.xyz(t)), 3)).astype(np.float32)


def feather(path: Path, flow: np.ndarray, **more: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("flow_tx_m", "flow_ty_m", "flow_tz_m")
    columns = {name: flow[:, i].astype(np.float16) for i, name in enumerate(names)}
    pyarrow.feather.write_feather(pa.table({**columns, **more}), path)


def test_our_own_predictions_stay_as_they_are(tmp_path: Path, log: LogFrames) -> None:
    columns = {
        "residual": np.concatenate([residual_of(log, t) for t in range(4)]),
        "covered": np.arange(log.num_points) % 3 > 0,
        "has_flow": np.array([True, False, True, False]),
    }
    write_columns(tmp_path / "own.h5", "predictions/1", columns, {"log_id": "log0", "frames_digest": log.digest})
    got = convert(tmp_path, tmp_path / "own.h5")
    assert got.column("has_flow").tolist() == [True, False, True, False]
    for t in (0, 2):
        for name in ("residual", "covered"):
            np.testing.assert_array_equal(got.column(name)[log.span(t)], columns[name][log.span(t)])


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_leaderboard_files_become_residual_flow_of_ego_frame_1(version: str, tmp_path: Path, log: LogFrames) -> None:
    ground = LogColumns.open(tmp_path / "data/ground/train/log0.h5", "ground/1", log).column("ground")
    for t in range(2):  # the third pair has no file
        flow, stamp = residual_of(log, t), int(log.timestamp_ns[t])
        if version == "v1":
            rows = ~ground[log.span(t)]  # all points lie within 50 m
            total = (flow + rigid_flow(log.xyz(t), log.ego1_SE3_ego0(t)))[rows]
            feather(tmp_path / f"log0/{stamp}.feather", total, is_dynamic=np.ones(len(total), bool))
        elif version == "v2":
            rotation = log.ego1_SE3_ego0(t)[:3, :3]
            feather(tmp_path / f"log0/{t:010d}.feather", flow @ rotation, is_valid=np.ones(len(flow), bool))
        else:
            feather(tmp_path / f"log0/{stamp}.feather", flow)
    got = convert(tmp_path, tmp_path / "log0")
    assert got.column("has_flow").tolist() == [True, True, False, False]
    for t in range(2):
        covered = got.column("covered")[log.span(t)]
        assert covered.sum() == (~ground[log.span(t)] if version == "v1" else ground[log.span(t)] | True).sum()
        # float16 of values up to 4 m
        np.testing.assert_allclose(
            got.column("residual")[log.span(t)][covered], residual_of(log, t)[covered], atol=4e-3
        )


def test_a_scene_of_opensceneflow_gives_its_total_flow(tmp_path: Path, log: LogFrames) -> None:
    """Without ground truth, which the logs that a teacher labels seldom have."""
    with h5py.File(tmp_path / "scene.h5", "w") as file:
        for t in range(log.num_frames):
            group, n = file.create_group(str(int(log.timestamp_ns[t]))), len(log.xyz(t))
            group["lidar"], group["ground_mask"] = log.xyz(t).astype(np.float32), np.zeros(n, bool)
            group["pose"] = log.city_SE3_ego[t]
            if t == 1:
                group["teacher"] = residual_of(log, t) + rigid_flow(log.xyz(t), log.ego1_SE3_ego0(t))
    got = convert(tmp_path, tmp_path / "scene.h5")
    assert got.column("has_flow").tolist() == [False, True, False, False]
    np.testing.assert_allclose(got.column("residual")[log.span(1)], residual_of(log, 1), atol=1e-6)
    with h5py.File(tmp_path / "scene.h5", "r+") as file:
        file[str(int(log.timestamp_ns[0]))]["student"] = residual_of(log, 0)
    with pytest.raises(InputError, match=r"scene\.h5 has the results student, teacher, wanted one"):
        convert(tmp_path, tmp_path / "scene.h5")
    with h5py.File(tmp_path / "scene.h5", "r+") as file:
        del file[str(int(log.timestamp_ns[0]))]["student"], file[str(int(log.timestamp_ns[1]))]["teacher"]
    with pytest.raises(InputError, match=r"scene\.h5 has no result, wanted one"):
        convert(tmp_path, tmp_path / "scene.h5")


def test_flow_that_is_not_finite_or_of_nothing_is_refused(tmp_path: Path, log: LogFrames) -> None:
    stamp = int(log.timestamp_ns[0])
    feather(tmp_path / f"log0/{stamp}.feather", np.full((len(log.xyz(0)), 3), np.nan))
    with pytest.raises(InputError, match="log log0: .* NaN or infinite"):
        convert(tmp_path, tmp_path / "log0")
    feather(tmp_path / "other/12345.feather", np.zeros((3, 3)))
    with pytest.raises(InputError, match="log log0: .* no flow of any pair"):
        convert(tmp_path, tmp_path / "other")


def test_a_source_that_is_nothing_known(tmp_path: Path) -> None:
    (tmp_path / "best.ckpt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"best\.ckpt is no weights file .*stages\.weights import"):
        is_weights(tmp_path / "best.ckpt")
    with pytest.raises(InputError, match="is no weights file"):
        is_weights(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="source must be a path"):
        TeachParameters("")


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "scratch"))
    monkeypatch.setenv("SCENEFLOW_DEVICE", "cpu")


def test_zeroflow_learns_from_a_teacher_that_never_saw_its_logs(
    data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    """The recipe: a trained network labels the logs, FastFlow3D learns from it by the loss zeroflow, truth unseen."""
    still = AugmentParameters(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    plain = replace(parameters, augment=still, held_out=0.0)
    teacher = replace(plain, labels="truth", loss="deflow", epochs=40)
    train_flow(data, tmp_path / "teacher.safetensors", tmp_path / "curves", teacher)
    for log in ("log0", "log1"):
        inputs = {kind: data / f"{kind}/train/{log}.h5" for kind in ("frames", "ground")}
        predict_file(
            log,
            {**inputs, "weights": tmp_path / "teacher.safetensors"},
            {"predictions": data / f"teacher/train/{log}.h5"},
            PredictRule(0.0, "fp32"),
            {"device": "cpu", "device_name": "cpu"},
        )
    for path in (data / "truth/train").iterdir():
        path.write_bytes(b"not a file that can be read")
    student = replace(
        plain, labels="teacher", loss="zeroflow", epochs=40, model=replace(plain.model, kind="fastflow3d")
    )
    train_flow(data, tmp_path / "student.safetensors", tmp_path / "curves", student)
    assert load_weights(tmp_path / "student.safetensors")[1]["training"]["parameters"]["labels"] == "teacher"
    assert moving_error(data, tmp_path / "student.safetensors") < 0.4


def test_training_without_a_teacher_is_one_sentence(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    (data / "teacher/train").mkdir(parents=True)
    lonely = replace(parameters, labels="teacher", loss="zeroflow")
    with pytest.raises(InputError, match=r"log log0 has no teacher .*name a teacher in teach\.source"):
        train_flow(data, tmp_path / "student.safetensors", tmp_path / "curves", lonely)
