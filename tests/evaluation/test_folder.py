# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of predictions that the pipeline did not make, from the command line."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.evaluation.command import run
from stages.evaluation.labels import LogLabels
from stages.evaluation.scene_import import import_scene, is_opensceneflow
from stages.evaluation.sources import open_source
from stages.evaluation.submission import write_feather
from tests.evaluation.data import log_arrays, write_split

PARAMS = """
evaluate:
  frames: all
  mask_zip: null
  missing: refuse
  bootstrap: {resamples: 5, seed: 0, level: 0.9}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def scene(path: Path, sweeps: int = 3, points: int = 120, result: str | None = "best") -> dict[str, Any]:
    """A scene as OpenSceneFlow stores it, from our made-up log."""
    arrays = log_arrays(11, sweeps, points)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for t in range(sweeps):
            rows = slice(*arrays["frame_start"][t : t + 2])
            group = file.create_group(str(arrays["timestamp_ns"][t]))
            group["lidar"] = arrays["xyz"][rows].astype(np.float32)
            group["pose"] = arrays["city_SE3_ego"][t]
            group["ground_mask"] = arrays["ground_v1"][rows]
            if t + 1 == sweeps:
                continue
            group["eval_mask"] = (np.arange(rows.stop - rows.start) % 4 > 0)[:, None]
            group["flow"] = arrays["flow"][rows]
            group["flow_is_valid"] = arrays["valid"][rows]
            group["flow_category_indices"] = arrays["category"][rows]
            if result is not None:
                group[result] = arrays["flow"][rows] + np.float32(0.25)
    return arrays


def test_a_scene_of_opensceneflow(project: Path, capsys: Any) -> None:
    scene(project / "scenes" / "scene-1.h5")
    run(["--predictions", "scenes", "--output", "m.json"])
    content = json.loads(Path("m.json").read_text())
    assert content["protocol"]["truth"] == "opensceneflow"
    assert content["protocol"]["ground"] == "ground_mask of OpenSceneFlow, for v1 and v2 alike"
    error = 0.25 * np.sqrt(3)  # every point is off by the same
    for name in ("fd", "fs", "bs"):
        assert content["model"]["opensceneflow"]["threeway"][name] == pytest.approx(error, abs=1e-5)
    assert content["no_motion"]["threeway"]["mean"] > content["ego_motion"]["threeway"]["mean"]
    assert "mean" in capsys.readouterr().out


def test_scene_import_keeps_rows_and_masks(tmp_path: Path) -> None:
    arrays = scene(tmp_path / "s.h5")
    assert is_opensceneflow(tmp_path / "s.h5")
    import_scene(tmp_path / "s.h5", tmp_path / "data", "val")
    frames = LogFrames.open(tmp_path / "data" / "frames" / "val" / "s.h5")
    truth = LogColumns.open(tmp_path / "data" / "truth" / "val" / "s.h5", "truth/1", frames)
    ground = LogColumns.open(tmp_path / "data" / "ground" / "val" / "s.h5", "ground/1", frames)
    assert frames.pairs().tolist() == [0, 1]
    rows = frames.span(1)
    assert np.array_equal(truth.column("flow")[rows], arrays["flow"][rows])
    outside = np.arange(rows.stop - rows.start) % 4 == 0
    assert np.array_equal(ground.column("ground")[rows], arrays["ground_v1"][rows] | outside)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"drop": "best"}, "has no result to score"),
        ({"add": ("other", 0)}, "has the results best, other: name one with --result"),
        ({"drop": "flow"}, "has no ground truth"),
        ({"add": ("best", 1)}, "best has .* rows and the sweep"),
    ],
)
def test_scenes_that_cannot_be_scored(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    scene(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        for group in list(file.values())[:-1]:
            if "drop" in change:
                del group[change["drop"]]
            else:
                name, extra = change["add"]
                if name in group:
                    del group[name]
                group[name] = np.zeros((len(group["lidar"]) + extra, 3), dtype=np.float32)
    with pytest.raises(InputError, match=text):
        import_scene(tmp_path / "s.h5", tmp_path / "data", "val")


def labels(data: Path, log: str) -> LogLabels:
    return LogLabels.open(log, {kind: data / kind / "val" / f"{log}.h5" for kind in ("frames", "truth", "ground")})


def flow_columns(flow: Any) -> dict[str, Any]:
    return {name: flow[:, i].astype(np.float16) for i, name in enumerate(("flow_tx_m", "flow_ty_m", "flow_tz_m"))}


def test_each_format_gives_the_residual_in_ego_frame_1(tmp_path: Path) -> None:
    arrays = log_arrays(2, 4, 80)
    (log,) = write_split(tmp_path, [arrays])
    ours = labels(tmp_path / "data", log)
    t, stamp = 2, int(arrays["timestamp_ns"][2])
    rows = ours.frames.span(t)
    residual = arrays["residual"][rows].astype(np.float64)
    turn, mask = ours.frames.ego1_SE3_ego0(t)[:3, :3], ours.v1_mask(t)
    moving = np.ones(int(mask.sum()), dtype=bool)
    write_feather(tmp_path / "v1" / f"{stamp}.feather",
                  {**flow_columns((residual + ours.rigid(t))[mask]), "is_dynamic": moving})  # fmt: skip
    write_feather(tmp_path / "v2" / f"{t:010d}.feather",
                  {"is_valid": np.ones(len(residual), dtype=bool), **flow_columns(residual @ turn)})  # fmt: skip
    write_feather(tmp_path / "v3" / f"{stamp}.feather", flow_columns(residual))
    for version in ("v1", "v2", "v3"):
        source = open_source(tmp_path / version, ours.frames, "all")
        found = source.predict(ours, t)
        assert found is not None and source.predict(ours, 0) is None
        scored = mask if version == "v1" else np.ones(len(mask), dtype=bool)
        assert np.abs(found[0] - residual)[scored].max() < 2e-3
        if version == "v1":
            assert np.array_equal(found[1], mask) and not found[0][~mask].any()


def test_a_feather_with_a_wrong_number_of_rows_is_refused(tmp_path: Path) -> None:
    arrays = log_arrays(2, 3, 80)
    (log,) = write_split(tmp_path, [arrays])
    stamp = int(arrays["timestamp_ns"][0])
    write_feather(tmp_path / "v3" / f"{stamp}.feather", flow_columns(np.zeros((7, 3))))
    with pytest.raises(InputError, match=f"{stamp}.feather has 7 rows, but the sweep has"):
        open_source(tmp_path / "v3", labels(tmp_path / "data", log).frames, "all").predict(
            labels(tmp_path / "data", log), 0
        )


def test_a_damaged_feather_and_a_folder_of_something_else_are_refused(tmp_path: Path) -> None:
    arrays = log_arrays(2, 3, 80)
    (log,) = write_split(tmp_path, [arrays])
    ours = labels(tmp_path / "data", log)
    (tmp_path / "odd").mkdir()
    with pytest.raises(InputError, match="has no feather files with columns flow_tx_m"):
        open_source(tmp_path / "odd", ours.frames, "all").predict(ours, 0)
    stamp = int(arrays["timestamp_ns"][0])
    write_feather(tmp_path / "v3" / f"{stamp}.feather", flow_columns(np.zeros((80, 3))))
    source = open_source(tmp_path / "v3", ours.frames, "all")
    assert len(source.families) == 4
    (tmp_path / "v3" / f"{stamp}.feather").write_bytes(b"ARROW1 and then nothing")
    with pytest.raises(InputError, match="cannot be read"):
        source.predict(ours, 0)


@pytest.mark.parametrize(
    ("prepare", "text"),
    [
        (lambda folder: (folder / "log-01.h5").unlink(), "has no predictions of log log-01"),
        (lambda folder: (folder / "log-09.h5").write_bytes((folder / "log-00.h5").read_bytes()), "no log of split val"),
    ],
)
def test_missing_and_foreign_logs_are_refused(project: Path, prepare: Any, text: str) -> None:
    write_split(project, [log_arrays(i, 2, 50) for i in range(2)])
    prepare(project / "data" / "predictions" / "val")
    with pytest.raises(SystemExit, match=text):
        run(["--predictions", "data/predictions/val"])


def test_no_folder_no_logs_and_masks_without_official_frames(project: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere is not a folder"):
        run(["--predictions", "nowhere"])
    (project / "empty").mkdir()
    with pytest.raises(SystemExit, match="has no logs"):
        run(["--predictions", "empty"])
    with pytest.raises(SystemExit, match="mask_zip holds the official frames only"):
        run(["--predictions", "empty", "--masks", "masks.zip"])


def test_compare_on_the_command_line_refuses_other_protocols(project: Path) -> None:
    for name, frames in (("a", "all"), ("b", "official")):
        (project / f"{name}.json").write_text(json.dumps({"protocol": {"frames": frames}, "model": {}}))
    with pytest.raises(SystemExit, match="error: a.json and b.json cannot be compared: protocol.frames"):
        run(["--compare", "a.json", "b.json"])
