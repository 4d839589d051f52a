# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Leaderboard archives: their rows, quantities and frames, and that they score as what they were made from."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.feather as feather
import pytest

from models.data.logfile import LogFrames, log_ids
from models.errors import InputError
from stages.evaluation.archive import check_copy, check_v1, check_v2, check_v3, write_archive
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.evaluate import EvaluateParameters
from stages.evaluation.folder import FolderTask, score_folder
from stages.evaluation.submission import SubmitParameters, submit_log, write_feather
from stages.evaluation.submit import cautions, submit_split
from stages.submit import main
from tests.evaluation.data import log_arrays, write_predictions, write_split
from tests.evaluation.raw import rewrite

FLOW = ["flow_tx_m", "flow_ty_m", "flow_tz_m"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: Any) -> Path:
    """Two logs, the first with a gap after frame 4."""
    root: Path = tmp_path_factory.mktemp("submission")
    write_split(root, [log_arrays(0, 12, 150, gap_after=4), log_arrays(1, 7, 170)], split="test")
    return root


@pytest.fixture
def settings(project: Path, tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(project)
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    return project


PARAMETERS = SubmitParameters(("v1", "v2", "v3"), supervised=False, mask_zip=None)


def table(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    read = feather.read_table(io.BytesIO(archive.read(name)))
    return {column: read[column].to_numpy(zero_copy_only=False) for column in read.column_names}


def test_archives_of_a_split(settings: Path) -> None:
    archives = submit_split("test", PARAMETERS)
    first = {path.name: path.read_bytes() for path in archives}
    assert sorted(first) == ["v1.zip", "v2.zip", "v3.zip"]
    assert {path.name: path.read_bytes() for path in submit_split("test", PARAMETERS)} == first
    frames = {log: LogFrames.open(Path(f"data/frames/test/{log}.h5")) for log in log_ids(Path("data/frames/test"))}
    _check_v1(Path("data/submission/test/v1.zip"), frames)
    _check_v2(Path("data/submission/test/v2.zip"), frames)
    _check_v3(Path("data/submission/test/v3.zip"), frames)


def _arrays(seed: int) -> dict[str, Any]:
    return log_arrays(0, 12, 150, gap_after=4) if seed == 0 else log_arrays(1, 7, 170)


def _check_v1(path: Path, frames: dict[str, LogFrames]) -> None:
    with zipfile.ZipFile(path) as archive:
        # Pairs 0..10 of the first log, 11..16 of the second: 0, 5, 10, 15.
        stamps = [("log-00", 0), ("log-00", 5), ("log-00", 10), ("log-01", 4)]
        expected = [f"{log}/{int(frames[log].timestamp_ns[t])}.feather" for log, t in stamps]
        assert archive.namelist() == sorted(expected)
        for (log, t), name in zip(stamps, expected, strict=True):
            columns, arrays = table(archive, name), _arrays(int(log[-1]))
            assert list(columns) == [*FLOW, "is_dynamic"]
            rows = frames[log].span(t)
            points = arrays["xyz"][rows].astype(np.float64)
            mask = (np.abs(points[:, :2]) <= 50).all(axis=1) & ~arrays["ground_v1"][rows]
            E = np.linalg.inv(arrays["city_SE3_ego"][t + 1]) @ arrays["city_SE3_ego"][t]
            residual = arrays["residual"][rows].astype(np.float64)
            total = points @ E[:3, :3].T + E[:3, 3] - points + residual
            flow = np.stack([columns[name] for name in FLOW], axis=1)
            assert flow.dtype == np.float16 and len(flow) == mask.sum()
            assert np.abs(flow - total[mask]).max() < 1e-3
            assert np.array_equal(columns["is_dynamic"], np.linalg.norm(residual, axis=1)[mask] >= 0.05)


def _check_v2(path: Path, frames: dict[str, LogFrames]) -> None:
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("metadata.json")) == {"Is Supervised?": False}
        names = [name for name in archive.namelist() if name != "metadata.json"]
        # A gap in time shifts no index: 0, 5, 10 of twelve sweeps, 0, 5 of seven.
        assert names == [f"log-00/{t:010d}.feather" for t in (0, 5, 10)] + [f"log-01/{t:010d}.feather" for t in (0, 5)]
        columns, arrays = table(archive, "log-00/0000000005.feather"), _arrays(0)
        assert list(columns) == ["is_valid", *FLOW] and columns["is_valid"].all()
        turn = (np.linalg.inv(arrays["city_SE3_ego"][6]) @ arrays["city_SE3_ego"][5])[:3, :3]
        expected = arrays["residual"][frames["log-00"].span(5)] @ turn  # b = R^T a
        assert np.abs(np.stack([columns[name] for name in FLOW], axis=1) - expected).max() < 2e-3


def _check_v3(path: Path, frames: dict[str, LogFrames]) -> None:
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 5
        stamp = int(frames["log-01"].timestamp_ns[5])
        columns = table(archive, f"log-01/{stamp}.feather")
        assert list(columns) == FLOW
        expected = _arrays(1)["residual"][frames["log-01"].span(5)]
        assert np.abs(np.stack(list(columns.values()), axis=1) - expected).max() < 2e-3


def test_a_frame_without_pair_is_ego_motion_and_not_valid(tmp_path: Path) -> None:
    logs = write_split(tmp_path, [log_arrays(0, 8, 60, gap_after=5)], split="test")
    submit(tmp_path / "data", logs[0], tmp_path / "out")
    name = tmp_path / "out" / "v2" / "0000000005.feather"
    read = feather.read_table(name)
    assert not read["is_valid"].to_numpy(zero_copy_only=False).any()
    assert not np.stack([read[c].to_numpy() for c in FLOW]).any()


def submit(data: Path, log: str, out: Path, mask_zip: Path | None = None) -> None:
    inputs: dict[str, Path] = {kind: data / kind / "test" / f"{log}.h5" for kind in ("frames", "ground", "predictions")}
    if mask_zip is not None:
        inputs["masks"] = mask_zip
    outputs = {kind: out / kind for kind in ("v1", "masks", "v2", "v3")}
    submit_log(log, inputs, outputs, PARAMETERS, {"phase": 0})


def test_an_official_mask_zip_decides_frames_and_rows(tmp_path: Path) -> None:
    arrays = log_arrays(3, 5, 100)
    (log,) = write_split(tmp_path, [arrays], split="test")
    stamp, count = int(arrays["timestamp_ns"][2]), int(np.diff(arrays["frame_start"])[2])
    mask = np.arange(count) % 3 == 0
    write_feather(tmp_path / "masks" / log / f"{stamp}.feather", {"mask": mask})
    write_archive(tmp_path / "masks.zip", tmp_path / "masks")
    submit(tmp_path / "data", log, tmp_path / "out", tmp_path / "masks.zip")
    (file,) = (tmp_path / "out" / "v1").iterdir()
    assert file.stem == str(stamp)
    assert feather.read_table(file).num_rows == mask.sum()

    write_feather(tmp_path / "masks" / log / f"{stamp}.feather", {"mask": mask[:-1]})
    write_archive(tmp_path / "masks.zip", tmp_path / "masks")
    with pytest.raises(InputError, match=f"mask has {count - 1} rows and the sweep {count} points"):
        submit(tmp_path / "data", log, tmp_path / "out2", tmp_path / "masks.zip")

    write_feather(tmp_path / "masks" / log / f"{int(arrays['timestamp_ns'][-1])}.feather", {"mask": mask})
    write_archive(tmp_path / "masks.zip", tmp_path / "masks")
    with pytest.raises(InputError, match="which starts no pair"):
        submit(tmp_path / "data", log, tmp_path / "out3", tmp_path / "masks.zip")


def test_a_flow_that_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    arrays = log_arrays(4, 3, 50)
    arrays["residual"][7] = 7e4
    (log,) = write_split(tmp_path, [arrays], split="test")
    with pytest.raises(
        InputError, match=r"log-00.h5, log log-00, frame 0 \(\d+\): a flow of .* does not fit the float16"
    ):
        submit(tmp_path / "data", log, tmp_path / "out")


def test_a_prediction_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    arrays = log_arrays(4, 3, 50)
    arrays["residual"][7] = np.nan
    (log,) = write_split(tmp_path, [arrays], split="test")
    with pytest.raises(InputError, match=r"frame 0 \(\d+\): the prediction is not finite"):
        submit(tmp_path / "data", log, tmp_path / "out")


def test_a_pair_that_was_not_predicted_is_refused(tmp_path: Path) -> None:
    arrays = log_arrays(0, 8, 60, gap_after=2)
    (log,) = write_split(tmp_path, [arrays], split="test")
    has_flow = arrays["pair_next"].copy()
    has_flow[5] = False
    rewrite(tmp_path / "data" / "predictions" / "test" / f"{log}.h5", has_flow=has_flow)
    stamp = arrays["timestamp_ns"][5]
    text = rf"log-00.h5, log log-00, frame 5 \({stamp}\) starts a pair that was not predicted; predict it again"
    with pytest.raises(InputError, match=text):
        submit(tmp_path / "data", log, tmp_path / "out")


def test_checks_find_what_a_leaderboard_would_refuse(tmp_path: Path) -> None:
    good = {"is_valid": np.ones(3, dtype=bool), **{name: np.zeros(3, dtype=np.float16) for name in FLOW}}
    rows = {"a/0000000000.feather": 3, "a/0000000005.feather": 3}

    def archive(log: str = "a", **files: Any) -> Path:
        for name, columns in files.items():
            write_feather(tmp_path / "v2" / log / f"{name[1:]}.feather", columns)
        write_archive(tmp_path / "v2.zip", tmp_path / "v2", {"Is Supervised?": True})
        return tmp_path / "v2.zip"

    with pytest.raises(InputError, match=r"v2: the archive lacks a/0000000005.feather and 0 more"):
        check_v2(archive(_0000000000=good), rows)
    check_v2(archive(_0000000005=good), rows)
    with pytest.raises(InputError, match="3 rows of is_valid, .* but 4 rows"):
        check_v2(tmp_path / "v2.zip", dict.fromkeys(rows, 4))
    bad = {**good, FLOW[1]: np.array([0, np.nan, 0], dtype=np.float16)}
    with pytest.raises(InputError, match="not finite"):
        check_v2(archive(_0000000005=bad), rows)
    check_v2(archive(_0000000005=good), rows)
    with pytest.raises(InputError, match=r"has b/0000000000.feather and 0 more that it must not hold"):
        check_v2(archive("b", _0000000000=good), rows)
    write_archive(tmp_path / "v2.zip", tmp_path / "v2", {"supervised": True})
    with pytest.raises(InputError, match="metadata.json"):
        check_v2(tmp_path / "v2.zip", {**rows, "b/0000000000.feather": 3})


def test_v3_wants_every_frame_and_no_other(tmp_path: Path) -> None:
    good = {name: np.zeros(3, dtype=np.float16) for name in FLOW}
    archive, rows = tmp_path / "v3.zip", {"a/1.feather": 3, "a/2.feather": 3}
    (tmp_path / "v3").mkdir()
    write_archive(archive, tmp_path / "v3")
    with pytest.raises(InputError, match=r"v3: the archive lacks a/1.feather and 1 more"):
        check_v3(archive, rows)
    for stamp in (1, 2):
        write_feather(tmp_path / "v3" / "a" / f"{stamp}.feather", good)
    write_archive(archive, tmp_path / "v3")
    check_v3(archive, rows)
    with pytest.raises(InputError, match=r"has a/2.feather and 0 more that it must not hold"):
        check_v3(archive, {"a/1.feather": 3})
    write_feather(tmp_path / "v3" / "a" / "2.feather", {"is_valid": np.ones(3, dtype=bool), **good})
    write_archive(archive, tmp_path / "v3")
    with pytest.raises(InputError, match=r"a/2.feather of the archive has 3 rows of is_valid"):
        check_v3(archive, rows)


def test_the_v1_archive_is_compared_with_the_files_that_were_checked(tmp_path: Path) -> None:
    good = {name: np.zeros(2, dtype=np.float16) for name in FLOW}
    write_feather(tmp_path / "v1" / "a" / "1.feather", good)
    write_archive(tmp_path / "v1.zip", tmp_path / "v1")
    check_copy(tmp_path / "v1.zip", tmp_path / "v1")
    write_feather(tmp_path / "v1" / "a" / "1.feather", {**good, FLOW[0]: np.ones(2, dtype=np.float16)})
    with pytest.raises(InputError, match=r"v1: a/1.feather of the archive is not the file that was checked"):
        check_copy(tmp_path / "v1.zip", tmp_path / "v1")
    write_feather(tmp_path / "v1" / "a" / "2.feather", good)
    with pytest.raises(InputError, match=r"v1: the archive lacks a/2.feather"):
        check_copy(tmp_path / "v1.zip", tmp_path / "v1")


@pytest.mark.parametrize(("labels", "supervised"), [("truth", False), ("clusters", True)])
def test_a_false_statement_about_supervision_is_refused(
    tmp_path: Path, monkeypatch: Any, labels: str, supervised: bool
) -> None:
    (log,) = write_split(tmp_path, [log_arrays(0, 3, 50)], split="test")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    trained = f"deflow on {labels}, deflow of width 8, 12 epochs of batch 2, seed 42"
    arrays = log_arrays(0, 3, 50)
    digest = LogFrames.open(Path(f"data/frames/test/{log}.h5")).digest
    write_predictions(Path("data"), "test", log, digest, arrays["residual"], arrays["pair_next"], trained=trained)
    said, other = str(supervised).lower(), str(not supervised).lower()
    text = f"submit.supervised is {said}, but .*log-00.h5 .* '{trained}'; set submit.supervised to {other}"
    with pytest.raises(InputError, match=text):
        submit_split("test", SubmitParameters(("v2",), supervised, None))
    assert not Path("data/submission").exists()
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    assert submit_split("test", SubmitParameters(("v2",), not supervised, None))
    (archive,) = submit_split("test", SubmitParameters(("v2",), None, None))
    with zipfile.ZipFile(archive) as content:
        assert json.loads(content.read("metadata.json")) == {"Is Supervised?": not supervised}


def test_supervision_that_nobody_states_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    write_split(tmp_path, [log_arrays(0, 3, 50)], split="test")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"submit.supervised is null, but .*log-00.h5 does not say .* set submit.super"
    ):
        submit_split("test", SubmitParameters(("v2",), None, None))


def test_a_missing_mask_zip_is_found_before_any_file_is_written(settings: Path) -> None:
    with pytest.raises(InputError, match="mask zip none.zip does not exist"):
        submit_split("test", SubmitParameters(("v1",), False, "none.zip"))


def test_the_stage_warns_of_masks_by_rule_and_of_v2s_frames(settings: Path, capsys: Any) -> None:
    main(PARAMETERS)
    told = capsys.readouterr()
    assert "v1.zip" in told.out and "v3.zip has the frames of v2" in told.err
    assert "masks made by rule" in told.err and "submit.mask_zip" in told.err
    assert cautions(SubmitParameters(("v1", "v2"), False, "masks.zip")) == []


def test_av2s_validator_decides_on_v1(tmp_path: Path) -> None:
    flow = {name: np.zeros(2, dtype=np.float16) for name in FLOW}
    write_feather(tmp_path / "masks" / "a" / "1.feather", {"mask": np.array([True, False, True])})
    write_archive(tmp_path / "masks.zip", tmp_path / "masks")
    write_feather(tmp_path / "v1" / "a" / "1.feather", {**flow, "is_dynamic": np.zeros(2, dtype=bool)})
    check_v1(tmp_path / "v1", tmp_path / "masks.zip")
    write_feather(tmp_path / "v1" / "a" / "1.feather", flow)
    with pytest.raises(InputError, match="refused by leaderboard v1"):
        check_v1(tmp_path / "v1", tmp_path / "masks.zip")
    (tmp_path / "v1" / "a" / "1.feather").unlink()
    with pytest.raises(InputError, match="refused by leaderboard v1"):
        check_v1(tmp_path / "v1", tmp_path / "masks.zip")


@pytest.mark.parametrize("formats", [(), ("v1", "v1")])
def test_senseless_formats_are_refused(formats: Any) -> None:
    with pytest.raises(ValueError, match="^formats"):
        SubmitParameters(formats, False, None)


EVALUATE = EvaluateParameters("official", None, "refuse", BootstrapParameters(5, 0, 0.9))


def close(a: Any, b: Any, tolerance: float) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            close(a[key], b[key], tolerance)
    elif isinstance(a, float):
        assert abs(a - b) < tolerance


def test_archives_score_as_the_predictions_they_hold(settings: Path) -> None:
    submit_split("test", PARAMETERS)

    def score(folder: str) -> dict[str, Any]:
        task = FolderTask(Path(folder), Path("data"), "test", None, None)
        model: dict[str, Any] = score_folder(task, EVALUATE)["model"]
        return model

    direct = score("data/predictions/test")
    v1, v2, v3 = (score(f"data/submission/test/{name}") for name in ("v1", "v2", "v3"))
    assert "bucketed" not in v1
    for key in ("threeway", "opensceneflow"):
        close(v1[key], direct[key], 2e-3)
    # v2 and v3 archives hold v2's frames.
    assert "threeway" not in v2
    for key in ("bucketed", "bucketed_all", "threeway_v2"):
        close(v2[key], direct[key], 5e-3)
        close(v3[key], direct[key], 5e-3)
