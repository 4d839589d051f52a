# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""To OpenSceneFlow's layout and back: its field table name by name, values by hand, the same bytes again."""

import io
import pickle
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from models.geometry import inverse_SE3, make_SE3, rigid_flow
from stages.evaluation.scene import is_opensceneflow, open_scene
from stages.exchange.export import export_split
from stages.exchange.importing import ImportTask, import_log
from stages.frames.write import content_digest, write_columns
from stages.pipeline.code import ROOT
from tests.evaluation.data import log_arrays, write_log, yaw

SPLIT, LOG = "val", "log-00"
TASK = ImportTask(SPLIT, mounts=None, result=None, pair_gap_s=(0.05, 0.15))

# The published layout: name, type, shape for a sweep of N points. Written from its description, not from the code.
TABLE = {
    "lidar": ("float32", ("N", 3)),
    "ground_mask": ("bool", ("N",)),
    "pose": ("float32", (4, 4)),
    "lidar_id": ("uint8", ("N",)),
    "lidar_dt": ("float32", ("N",)),
    "flow": ("float32", ("N", 3)),
    "flow_is_valid": ("bool", ("N",)),
    "flow_category_indices": ("uint8", ("N",)),
    "flow_instance_id": ("int16", ("N",)),
    "ego_motion": ("float32", (4, 4)),
    "eval_mask": ("bool", ("N", 1)),
    "dufo": ("uint8", ("N",)),
    "dufocluster": ("int16", ("N",)),
    "deflow_best": ("float32", ("N", 3)),  # a result has the name of its model
}
OF_A_PAIR = {"flow", "flow_is_valid", "flow_category_indices", "flow_instance_id", "ego_motion", "deflow_best"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of four sweeps, 60 points each or a few more, with every kind of label; the second pair is a gap."""
    arrays = log_arrays(seed=1, sweeps=4, points=60, gap_after=1)
    folder = tmp_path / "data"
    digest = write_log(folder, SPLIT, LOG, arrays)
    write_predictions(folder, arrays, digest)
    of_log = {"log_id": LOG, "frames_digest": digest}
    rng = np.random.default_rng(2)
    label = rng.integers(0, 5, len(arrays["xyz"])).astype(np.int16)
    write_columns(
        folder / f"dynamic/{SPLIT}/{LOG}.h5",
        "dynamic/1",
        {"dynamic": (label > 0) & (rng.random(len(label)) < 0.8)},
        {**of_log, "d_s": 0.2},
    )
    write_columns(folder / f"clusters/{SPLIT}/{LOG}.h5", "clusters/1", {"label": label}, {**of_log, "epsilon": 0.7})
    return folder


def write_predictions(folder: Path, arrays: dict, digest: str) -> None:
    """As the stage writes them: nothing where a sweep starts no pair, and some points not covered."""
    has = np.repeat(arrays["pair_next"], np.diff(arrays["frame_start"]))
    covered = has & (np.arange(len(has)) % 7 > 0)
    columns = {
        "residual": np.where(covered[:, None], arrays["residual"], 0).astype(np.float32),
        "covered": covered,
        "has_flow": arrays["pair_next"],
    }
    made = {"log_id": LOG, "frames_digest": digest, "weights_digest": "ab" * 32, "device": "cpu"}
    write_columns(folder / f"predictions/{SPLIT}/{LOG}.h5", "predictions/1", columns, made)


@pytest.fixture
def masks(tmp_path: Path, data: Path) -> Path:
    """The organisers' zip: a mask of the first sweep alone."""
    frames = LogFrames.open(data / f"frames/{SPLIT}/{LOG}.h5")
    content = io.BytesIO()
    feather.write_feather(pa.table({"mask": np.arange(len(frames.xyz(0))) % 3 > 0}), content)
    path = tmp_path / "masks.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{LOG}/{frames.timestamp_ns[0]}.feather", content.getvalue())
    return path


def export(data: Path, output: Path, masks: Path | None = None) -> Path:
    return export_split(data, SPLIT, [LOG], output, "deflow_best", masks)[0]


def test_the_field_table_name_by_name(data: Path, masks: Path, tmp_path: Path) -> None:
    frames = LogFrames.open(data / f"frames/{SPLIT}/{LOG}.h5")
    with h5py.File(export(data, tmp_path / "osf", masks)) as file:
        assert sorted(file) == [str(stamp) for stamp in frames.timestamp_ns]
        for t, stamp in enumerate(frames.timestamp_ns):
            group, points = file[str(stamp)], len(frames.xyz(t))
            wanted = set(TABLE) - (set() if frames.pair_next[t] else OF_A_PAIR) - (set() if t == 0 else {"eval_mask"})
            assert wanted <= set(group)
            assert not (set(TABLE) - wanted) & set(group)
            assert not {"cluster", "nnd"} & set(group)  # labels of SeFlow++, which are not made here
            for name in wanted:
                dtype, shape = TABLE[name]
                assert group[name].dtype == dtype, name
                assert group[name].shape == tuple(points if side == "N" else side for side in shape), name
            for name, field in group.items():
                assert field.chunks is None and field.compression is None, name  # contiguous
            assert {group[name].ndim for name in set(group) - set(TABLE)} == {1}  # ours: no reader's (N, 3) result


def test_values_by_hand(tmp_path: Path) -> None:
    """The lidar stands 1 m ahead and 2 m up, turned by a quarter; the vehicle drives 3 m; a point moves 0.5 m more."""
    xyz = np.array([[1, 0, 2], [4, 0, 2], [1, 5, 0], [0, 0, 0]], dtype=np.float16)
    poses = np.stack([np.eye(4), make_SE3(np.eye(3), [3.0, 0.0, 0.0])])
    frames = {
        "xyz": xyz,
        "intensity": np.zeros(4, np.uint8),
        "laser_number": np.array([0, 31, 32, 63], np.uint8),
        "offset_ns": np.array([0, 50_000_000, 0, 0], np.int32),
        "frame_start": np.array([0, 2, 4]),
        "timestamp_ns": np.array([100, 200]) * 1_000_000,
        "city_SE3_ego": poses,
        "pair_next": np.array([True, False]),
        "ego_SE3_up_lidar": make_SE3(yaw(np.pi / 2), [1.0, 0.0, 2.0]),
        "ego_SE3_down_lidar": np.eye(4),
    }
    digest = content_digest(frames)
    of_log = {"log_id": "hand", "frames_digest": digest}
    for kind, columns in {
        "frames": frames,
        "ground": {"ground": np.array([False, True, False, False])},
        "clusters": {"label": np.array([1, 3, 0, 0], np.int16)},
        "dynamic": {"dynamic": np.array([True, True, False, False])},
        "predictions": {
            "residual": np.array([[0, 0, 0], [0.5, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32),
            "covered": np.array([True, True, False, False]),
            "has_flow": np.array([True, False]),
        },
    }.items():
        attributes = {"log_id": "hand", "digest": digest} if kind == "frames" else of_log
        write_columns(tmp_path / f"data/{kind}/val/hand.h5", f"{kind}/1", columns, attributes)
    with h5py.File(export_split(tmp_path / "data", "val", ["hand"], tmp_path / "osf", "ours", None)[0]) as file:
        first, second = file["100000000"], file["200000000"]
        np.testing.assert_allclose(first["lidar"], [[0, 0, 0], [0, -3, 0]], atol=1e-6)  # x ahead is -y of the lidar
        assert first["lidar_id"][()].tolist() == [1, 1] and second["lidar_id"][()].tolist() == [2, 2]
        assert first["lidar_dt"][()].tolist() == [0.0, np.float32(0.05)]
        assert first["ground_mask"][()].tolist() == [False, True]
        assert first["dufo"][()].tolist() == [1, 1] and first["dufocluster"][()].tolist() == [0, 2]
        np.testing.assert_allclose(first["ours"], [[-3, 0, 0], [-2.5, 0, 0]], atol=1e-6)  # total, axes of the vehicle
        assert "ours" not in second and second["pose"][()][0, 3] == 3.0
    assert pickle.loads((tmp_path / "osf/index_total.pkl").read_bytes()) == [
        ["hand", "100000000"],
        ["hand", "200000000"],
    ]


def test_indices_are_of_the_scenes_that_are_there_now(data: Path, masks: Path, tmp_path: Path) -> None:
    """After an export with masks and truth one without; and files beside the scenes that are none."""
    folder = tmp_path / "osf"
    export(data, folder, masks)
    indices = {name: folder / f"index_{name}.pkl" for name in ("total", "flow", "eval")}
    assert all(path.exists() for path in indices.values())
    (folder / "notes.h5").write_bytes(b"no HDF5")
    with h5py.File(folder / "other.h5", "w") as file:
        file.create_group("weights")
    (data / f"truth/{SPLIT}/{LOG}.h5").unlink()
    export(data, folder)
    assert {name for name, path in indices.items() if path.exists()} == {"total"}
    stamps = LogFrames.open(data / f"frames/{SPLIT}/{LOG}.h5").timestamp_ns
    assert pickle.loads(indices["total"].read_bytes()) == [[LOG, str(stamp)] for stamp in stamps]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_there_and_back_gives_the_same_bytes(data: Path, masks: Path, tmp_path: Path, dtype: type) -> None:
    if dtype is np.float32:
        arrays = log_arrays(seed=1, sweeps=4, points=60, gap_after=1)
        arrays["xyz"] = np.random.default_rng(3).uniform(-60, 60, arrays["xyz"].shape).astype(np.float32)
        write_predictions(data, arrays, write_log(data, SPLIT, LOG, arrays))
        for kind in ("dynamic", "clusters"):  # of other frames now
            (data / kind / SPLIT / f"{LOG}.h5").unlink()
    written = import_log(export(data, tmp_path / "osf", masks), tmp_path / "back", TASK)
    kinds = {path.parent.parent.name for path in data.glob(f"*/{SPLIT}/*.h5")}
    assert set(written) == kinds
    for kind in kinds:
        assert written[kind].read_bytes() == (data / kind / SPLIT / f"{LOG}.h5").read_bytes(), kind


def other_program(path: Path) -> None:
    """Leave what the layout has, as another program would write it."""
    with h5py.File(path, "r+") as file:
        for name in list(file.attrs):
            del file.attrs[name]
        for group in file.values():
            for name in list(group.attrs):
                del group.attrs[name]
            for name in set(group) - set(TABLE):
                del group[name]


def test_a_scene_of_another_program(data: Path, tmp_path: Path) -> None:
    """Its network may work on points as they are stored: total flow is what counts; poses are single precision."""
    ours = LogFrames.open(data / f"frames/{SPLIT}/{LOG}.h5")
    scene = export(data, tmp_path / "osf")
    other_program(scene)
    own = LogColumns.open(data / f"predictions/{SPLIT}/{LOG}.h5", "predictions/1", ours).column("residual")
    totals = {}
    with h5py.File(scene, "r+") as file:
        for t in ours.pairs():
            group, after = file[str(ours.timestamp_ns[t])], file[str(ours.timestamp_ns[t + 1])]
            motion = inverse_SE3(after["pose"][()].astype(float)) @ group["pose"][()].astype(float)
            group["deflow_best"][...] = rigid_flow(group["lidar"][()], motion) + own[ours.span(t)]
            totals[int(t)] = group["deflow_best"][()]
    with pytest.raises(InputError, match="does not say where its lidar is; give --mounts"):
        import_log(scene, tmp_path / "back", TASK)
    written = import_log(scene, tmp_path / "back", replace(TASK, mounts=ours.ego_SE3_lidar))
    frames = LogFrames.open(written["frames"])
    np.testing.assert_allclose(frames.column("xyz"), ours.column("xyz"), atol=2e-5)  # float32 at 70 m, there and back
    np.testing.assert_allclose(frames.city_SE3_ego, ours.city_SE3_ego, atol=2e-4)  # float32 at 2 km
    truth, wanted = (
        LogColumns.open(folder / f"truth/{SPLIT}/{LOG}.h5", "truth/1") for folder in (tmp_path / "back", data)
    )
    for name in ("flow", "valid", "category", "instance"):
        rows = np.repeat(truth.column("has_flow"), np.diff(ours.frame_start))
        assert np.array_equal(truth.column(name)[rows], wanted.column(name)[rows])
    found = LogColumns.open(written["predictions"], "predictions/1", frames)
    assert np.flatnonzero(found.column("has_flow")).tolist() == sorted(totals) != []
    for t, total in totals.items():  # the sum that evaluation and labels make of it
        again = rigid_flow(frames.xyz(t), frames.ego1_SE3_ego0(t)) + found.column("residual")[frames.span(t)]
        np.testing.assert_allclose(again, total, atol=1e-6)
    assert frames.column("laser_number").tolist() == [0] * ours.num_points  # lidar_id 1 is the upper lidar


def test_a_world_that_stands_still_has_no_residual(tmp_path: Path) -> None:
    """The vehicle turns by 4 degrees, the lidar mounted as in Argoverse 2: lidar and ego motion differ by 9 cm."""
    ego_SE3_lidar = make_SE3(np.eye(3), [1.35, 0.0, 1.64])
    poses = np.stack([np.eye(4), make_SE3(yaw(np.radians(4)), [1.0, 0.0, 0.0])]).astype(np.float32)
    ego = np.random.default_rng(0).uniform(-50, 50, (100, 3))
    still = rigid_flow(ego, inverse_SE3(poses[1].astype(float)) @ poses[0].astype(float))
    with h5py.File(tmp_path / "turn.h5", "w") as file:
        for t, pose in enumerate(poses):
            group = file.create_group(str(t * 100_000_000))
            group["lidar"] = (ego - ego_SE3_lidar[:3, 3]).astype(np.float32)
            group["pose"], group["ground_mask"] = pose, np.zeros(100, bool)
        file["0"]["theirs"] = still.astype(np.float32)
    mounts = {lidar: ego_SE3_lidar for lidar in ("up_lidar", "down_lidar")}
    written = import_log(tmp_path / "turn.h5", tmp_path / "back", replace(TASK, mounts=mounts))
    residual = LogColumns.open(written["predictions"], "predictions/1").column("residual")[:100]
    assert np.abs(residual).max() < 1e-5  # float32 of points 50 m away


def test_what_was_changed_after_the_export_counts(data: Path, tmp_path: Path) -> None:
    """A result written over ours in the scene: its exact residual beside it is no longer true."""
    ours = LogFrames.open(data / f"frames/{SPLIT}/{LOG}.h5")
    scene = export(data, tmp_path / "osf")
    with h5py.File(scene, "r+") as file:
        total = file[str(ours.timestamp_ns[0])]["deflow_best"]
        total[...] = total[()] + np.float32(1)
    written = import_log(scene, tmp_path / "back", TASK)
    found = LogColumns.open(written["predictions"], "predictions/1").column("residual")[ours.span(0)]
    own = LogColumns.open(data / f"predictions/{SPLIT}/{LOG}.h5", "predictions/1").column("residual")[ours.span(0)]
    np.testing.assert_allclose(found, own + 1, atol=1e-6)
    assert (
        "weights_digest" not in LogColumns.open(written["predictions"], "predictions/1").attributes
    )  # not of our weights


def test_our_evaluation_reads_the_scenes(data: Path, tmp_path: Path) -> None:
    scene = export(data, tmp_path / "osf")
    assert is_opensceneflow(scene)
    with open_scene(scene) as opened:
        assert opened.result == "deflow_best"
        assert opened.paired.tolist() == [True, False, True, False]


def test_a_result_must_not_take_the_place_of_a_field(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--result flow is a field of the layout"):
        export_split(data, SPLIT, [LOG], tmp_path / "osf", "flow", None)


def test_the_command_both_ways(data: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stages.interchange", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    osf, back = str(tmp_path / "osf"), str(tmp_path / "back")
    assert run("export", "--data", str(data), "--output", osf).stdout == f"{osf}/{LOG}.h5\n"
    assert run("import", osf, "--output", back).stdout == f"{back}/frames/{SPLIT}/{LOG}.h5\n"
    assert "there is no nowhere.json" in run("import", osf, "--output", back, "--mounts", "nowhere.json").stderr
    refused = run("import", str(data), "--output", back)
    assert refused.returncode == 1 and "has no scenes of OpenSceneFlow" in refused.stderr
    assert refused.stderr.count("\n") == 1
