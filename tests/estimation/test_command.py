# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The whole command on a street made by hand: the same flow from every format, every row in its place."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save_file

from models.architecture import Architecture
from models.geometry import inverse_SE3, rigid_flow
from models.weights import load_weights, save_weights
from stages.estimation.default_weights import DEFAULT
from stages.estimation.formats import FORMATS, read_cloud
from stages.estimation.ground import PATCHWORK
from stages.labels.ground import GroundParameters
from stages.pipeline.code import ROOT
from stages.pipeline.parameters import read_parameters
from tests.estimation.scene import KINDS, motion, sweep, write
from tests.estimation.test_formats import fields

POSES = [motion(), motion(x=0.8, yaw_deg=0.5)]
NAMES = [f"{name}_{axis}" for name in ("flow", "residual") for axis in "xyz"]
MARKS = ["ground", "covered", "valid"]


@pytest.fixture(scope="module")
def street() -> list[np.ndarray]:
    first, second = (sweep(pose, seed=i, car_x=1.1 * i) for i, pose in enumerate(POSES))
    first[5] = np.nan
    first[17, 2] = np.inf
    return [first, second]


def pair(folder: Path, street: list[np.ndarray], suffix: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [write(folder / f"{name}{suffix}", points) for name, points in zip("ab", street, strict=True)]


def poses_file(folder: Path) -> Path:
    path = folder / "poses.txt"
    path.write_text("".join(" ".join(f"{v:.17g}" for v in pose[:3].ravel()) + "\n" for pose in POSES))
    return path


def columns(path: Path) -> dict[str, np.ndarray]:
    """Flow columns of a result of any kind."""
    if path.suffix in (".npy", ".bin"):
        rows = np.load(path) if path.suffix == ".npy" else np.fromfile(path, "<f4").reshape(-1, 13)
        return dict(zip([*NAMES, *MARKS], rows[:, -9:].T, strict=True))
    return {name: np.asarray(fields(read_cloud(path))[name]) for name in [*NAMES, *MARKS]}


@pytest.fixture(scope="module")
def results(street: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """Flow columns by format, all from the command."""
    import sys

    from stages.estimate import main

    folder = tmp_path_factory.mktemp("formats")
    poses = poses_file(folder)
    found = {}
    for suffix in KINDS:
        files = pair(folder / suffix[1:], street, suffix)
        with pytest.MonkeyPatch.context() as patch:
            words = [*files, "--poses", poses, "-o", folder / "out", "--no-picture"]
            patch.setattr(sys, "argv", ["estimate", *map(str, words)])
            assert main() == 0
        found[suffix] = columns(folder / f"out/a{suffix}")
    return found


@pytest.mark.parametrize("suffix", KINDS)
def test_every_format_gives_the_same_flow_bit_for_bit(suffix: str, results: dict) -> None:
    for name in NAMES:
        got = results[suffix][name].astype(np.float32)
        assert got.tobytes() == results[".npy"][name].astype(np.float32).tobytes(), name
    for name in MARKS:
        np.testing.assert_array_equal(results[suffix][name].astype(bool), results[".npy"][name].astype(bool))


def test_every_format_is_among_them() -> None:
    assert set(KINDS) == set(FORMATS)


def test_rows_keep_their_place_and_invalid_ones_have_no_flow(results: dict, street: list[np.ndarray]) -> None:
    got = results[".feather"]
    assert len(got["valid"]) == len(street[0])
    assert np.flatnonzero(~got["valid"]).tolist() == [5, 17]
    assert np.flatnonzero(np.isnan(got["flow_x"])).tolist() == [5, 17]
    assert got["flow_x"].dtype == got["residual_z"].dtype == np.float32
    assert not (got["ground"] & got["covered"]).any() and not (got["covered"] & ~got["valid"]).any()


def test_total_flow_is_ego_motion_and_residual(results: dict, street: list[np.ndarray]) -> None:
    got, points = results[".feather"], street[0]
    flow, residual = (np.stack([got[f"{name}_{axis}"] for axis in "xyz"], axis=1) for name in ("flow", "residual"))
    rows = got["valid"]
    expected = rigid_flow(points[rows], inverse_SE3(POSES[1]) @ POSES[0]) + residual[rows]
    np.testing.assert_allclose(flow[rows], expected, rtol=0, atol=1e-6)
    assert (residual[rows & ~got["covered"]] == 0).all()
    assert (residual[got["covered"]] != 0).any()


def test_ground_and_cover_are_what_they_are(results: dict, street: list[np.ndarray]) -> None:
    got, points = results[".feather"], street[0]
    road = np.abs(points[:, 2] + 0.33) < 0.05
    near = np.hypot(points[:, 0], points[:, 1]) < 15
    assert got["ground"][road & near].mean() > 0.8
    assert got["ground"][points[:, 2] > 0.5].mean() < 0.01
    inside = (np.abs(points[:, :2]) < 37).all(axis=1) & (points[:, 2] > -1) & (points[:, 2] < 4)
    assert got["covered"][inside & ~got["ground"]].all()
    assert not got["covered"][points[:, 2] > 4.7].any()


def test_a_folder_gives_every_pair_a_picture_and_a_record(estimate: Callable, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        write(tmp_path / f"in/{i}.bin", sweep(motion(x=0.5 * i), seed=i))
    (tmp_path / "poses.tum").write_text("".join(f"{0.1 * i:.1f} {0.5 * i} 0 0 0 0 0 1\n" for i in range(3)))
    result = estimate(tmp_path / "in", "--poses", tmp_path / "poses.tum", "-o", tmp_path / "out")
    assert (result.code, result.err) == (0, "")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0.bin", "0.png", "1.bin", "1.png", "estimate.json"]
    assert (tmp_path / "out/0.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "out/estimate.json").read_text())
    assert [(row["sweep"], row["next"], row["seconds"]) for row in record["pairs"]] == [
        ("0.bin", "1.bin", 0.1),
        ("1.bin", "2.bin", 0.1),
    ]
    np.testing.assert_allclose(record["pairs"][0]["ego_motion"]["ego1_SE3_ego0"], motion(x=-0.5), atol=1e-12)
    assert record["pairs"][0]["ego_motion"]["residual_m"] < 0.02
    assert "0.bin: 24,000 points" in result.out


def test_the_output_may_be_a_file(street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    files = pair(tmp_path / "in", street, ".csv")
    result = estimate(*files, "--poses", poses_file(tmp_path), "-o", tmp_path / "flow.csv")
    assert result.code == 0
    assert sorted(path.name for path in tmp_path.glob("flow.*")) == ["flow.csv", "flow.json", "flow.png"]
    assert read_cloud(tmp_path / "flow.csv").content.column_names == ["x", "y", "z", "intensity", *NAMES, *MARKS]


def test_kitti_poses_of_a_camera_are_moved_to_the_lidar(
    street: list[np.ndarray], estimate: Callable, tmp_path: Path
) -> None:
    files = pair(tmp_path / "in", street, ".bin")
    camera_SE3_lidar = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1.0]])
    camera = [camera_SE3_lidar @ pose @ inverse_SE3(camera_SE3_lidar) for pose in POSES]
    (tmp_path / "p.txt").write_text("".join(" ".join(map(repr, p[:3].ravel().tolist())) + "\n" for p in camera))
    (tmp_path / "calib.txt").write_text("Tr: " + " ".join(map(str, camera_SE3_lidar[:3].ravel())) + "\n")
    out = tmp_path / "out"
    result = estimate(*files, "--poses", tmp_path / "p.txt", "--calib", tmp_path / "calib.txt", "-o", out)
    assert result.code == 0
    record = json.loads((out / "a.json").read_text())
    np.testing.assert_allclose(record["pairs"][0]["ego_motion"]["ego1_SE3_ego0"], inverse_SE3(POSES[1]), atol=1e-12)


def test_clouds_without_ground_lose_none(street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    files = pair(tmp_path / "in", [points[points[:, 2] > -0.2] for points in street], ".npy")
    result = estimate(*files, "--no-ground", "--poses", poses_file(tmp_path), "-o", tmp_path / "out", "--no-picture")
    assert result.code == 0 and "height" not in result.err
    assert columns(tmp_path / "out/a.npy")["ground"].sum() == 0


def other_network(path: Path) -> Path:
    network, description = load_weights(DEFAULT)
    save_weights(path, network, network_architecture(description), description["training"])
    return path


def network_architecture(description: dict) -> object:
    wider = {**description["architecture"], "width": 2 * description["architecture"]["width"]}
    return Architecture(**{**wider, "range": tuple(wider["range"])})


def three_sweeps(path: Path) -> Path:
    architecture = Architecture("deflowpp", (-38.4, -38.4, -2, 38.4, 38.4, 4), 0.8, 8, 1)
    save_weights(path, architecture.build(), architecture, {})
    return path


def lidar_frame(path: Path) -> Path:
    network, description = load_weights(DEFAULT)
    known = description["architecture"]
    save_weights(path, network, Architecture(**{**known, "range": tuple(known["range"])}), {}, "sensor")
    return path


def foreign_weights(path: Path) -> Path:
    save_file({"layer": np.zeros(3, np.float32)}, path)
    return path


def words(path: Path) -> Path:
    path.write_text("no weights")
    return path


WRONG: dict[str, tuple[Callable[[Path, list[Path]], list[object]], str]] = {
    "weights of another architecture": (
        lambda folder, files: [*files, "--weights", other_network(folder / "w.safetensors")],
        r"w\.safetensors does not fit its architecture",
    ),
    "weights of three sweeps": (
        lambda folder, files: [*files, "--weights", three_sweeps(folder / "w.safetensors")],
        r"w\.safetensors holds a network of 3 sweeps, and a pair has two; give weights of deflow or fastflow3d",
    ),
    "weights of the lidar's frame": (
        lambda folder, files: [*files, "--weights", lidar_frame(folder / "w.safetensors")],
        r"w\.safetensors wants points of the lidar's frame, .* give weights of the ego frame, or .*predict\.weights",
    ),
    "foreign weights": (
        lambda folder, files: [*files, "--weights", foreign_weights(folder / "w.safetensors")],
        r"w\.safetensors has schema None, wanted weights/1",
    ),
    "no weights": (lambda folder, files: [*files, "--weights", words(folder / "w.pth")], r"w\.pth is damaged"),
    "missing weights": (lambda folder, files: [*files, "--weights", folder / "w"], r"w cannot be read .No such file"),
    "output of another kind": (
        lambda folder, files: [*files, "-o", folder / "x.pcd"],
        r"x\.pcd must be of the kind of its input, \.bin, or a folder",
    ),
    "output in place of the input": (lambda folder, files: [*files, "-o", files[0].parent], "would replace an input"),
    "output under a file": (lambda folder, files: [*files, "-o", words(folder / "w")], "is a file of no known kind"),
    "wrong pose count": (
        lambda folder, files: [*files, "--poses", words_of_poses(folder / "p.txt", 3)],
        "has 3 poses for 2 sweeps",
    ),
    "both motions": (lambda folder, files: [*files, "--compensated", "--poses", "p"], "give one of them"),
    "calibration alone": (lambda folder, files: [*files, "--calib", "c"], "give --poses too"),
    "height": (lambda folder, files: [*files, "--mount-height", "1730"], "must be metres over the road, from 0 to 10"),
    "output under a plain file": (lambda folder, files: [*files, "-o", words(folder / "w") / "x"], "cannot be written"),
    "weights are a folder": (lambda folder, files: [*files, "--weights", folder], "cannot be read .Is a directory"),
    "missing cloud": (lambda folder, files: [files[0], folder / "none.bin"], r"none\.bin cannot be read"),
}


def words_of_poses(path: Path, count: int) -> Path:
    path.write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * count)
    return path


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_ends_in_one_sentence(
    case: str, street: list[np.ndarray], estimate: Callable, tmp_path: Path
) -> None:
    arguments, message = WRONG[case]
    given = arguments(tmp_path, pair(tmp_path / "in", street, ".bin"))
    result = estimate(*(given if "-o" in given else [*given, "-o", tmp_path / "out"]))
    last = result.err.splitlines()[-1]
    assert result.code == 1
    assert last.startswith("error: ")
    assert re.search(message, last), last
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_told(street: list[np.ndarray], estimate: Callable, tmp_path: Path) -> None:
    files = pair(tmp_path / "in", street, ".bin")
    result = estimate(*files, "--device", "cuda", "-o", tmp_path / "out")
    assert result.code == 1 and "error: device cuda is asked for, but this machine shows no GPU" in result.err


def test_an_interrupted_write_leaves_nothing(
    street: list[np.ndarray], estimate: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk while the result is written: one sentence, and no part of a file."""
    files = pair(tmp_path / "in", street, ".npy")

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stages.estimation.write._write_bytes", full)
    result = estimate(*files, "--poses", poses_file(tmp_path), "-o", tmp_path / "out")
    assert result.code == 1 and "cannot be written (No space left on device)" in result.err
    assert list((tmp_path / "out").iterdir()) == []


def test_the_ground_method_has_the_pipelines_default_values() -> None:
    assert read_parameters("ground", GroundParameters, ROOT / "params.yaml").patchwork == PATCHWORK


def test_arrow_keeps_the_types_of_its_columns(street: list[np.ndarray], results: dict, tmp_path: Path) -> None:
    """Half floats, as Argoverse 2 stores them, stay half floats."""
    from stages.estimation.formats import cloud_bytes

    table = pa.table({axis: pa.array(np.zeros(2, np.float16)) for axis in "xyz"})
    pa.feather.write_feather(table, tmp_path / "a.feather")
    (tmp_path / "b.feather").write_bytes(cloud_bytes(read_cloud(tmp_path / "a.feather"), {"valid": np.ones(2, bool)}))
    assert [str(field.type) for field in pa.feather.read_table(tmp_path / "b.feather").schema] == [
        *["halffloat"] * 3,
        "bool",
    ]
