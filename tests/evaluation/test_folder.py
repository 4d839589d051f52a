# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of predictions that the pipeline did not make, from the command line."""

import gc
import json
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.evaluation.command import is_command, parser, run
from stages.evaluation.feathers import read_feather
from stages.evaluation.labels import LogLabels
from stages.evaluation.scene import is_opensceneflow
from stages.evaluation.scene_import import import_scene
from stages.evaluation.sources import open_source
from stages.evaluation.submission import write_feather
from tests.evaluation.data import log_arrays, write_split
from tests.evaluation.raw import rewrite

ROOT = Path(__file__).parents[2]

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
    assert content["protocol"]["ground"].startswith("ground_mask of OpenSceneFlow for v1 and v2 alike (masks ")
    assert content["provenance"]["format"] == "opensceneflow" and content["provenance"]["result"] == "best"
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
        ({"add": ("best", 1)}, "field best has shape .*, but the sweep has .* points; write the result again"),
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


def drop(name: str) -> Any:
    return lambda group: group.__delitem__(name)


def cut(name: str) -> Any:
    def change(group: h5py.Group) -> None:
        values = group[name][()]
        del group[name]
        group[name] = values[:-1]

    return change


def put(name: str, value: Any) -> Any:
    def change(group: h5py.Group) -> None:
        if name in group:
            del group[name]
        group[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda group: group.clear(), "field lidar is missing; extract the scene again"),
        (drop("lidar"), "field lidar is missing; extract"),
        (drop("pose"), "field pose is missing; extract"),
        (drop("ground_mask"), "field ground_mask is missing; extract"),
        (cut("ground_mask"), "field ground_mask has shape .*, but the sweep has .* points"),
        (cut("eval_mask"), "field eval_mask has shape .*, but the sweep has .* points"),
        (cut("flow"), "field flow has shape .*, but the sweep has .* points"),
        (cut("flow_is_valid"), "field flow_is_valid has shape"),
        (cut("flow_category_indices"), "field flow_category_indices has shape"),
        (cut("best"), "field best has shape .* points; write the result again"),
        (put("pose", np.eye(3)), "field pose of shape .3, 3. is no finite"),
        (put("pose", np.full((4, 4), np.nan)), "field pose of shape .* is no finite"),
        (put("lidar", np.zeros(7)), "field lidar has shape .7,. and not x, y and z"),
        (put("ground_mask", "none"), "field ground_mask holds no numbers"),
        (lambda group: group["flow_category_indices"].write_direct(np.full(len(group["flow"]), 31, np.uint8)),
         "field flow_category_indices has values beyond 30"),
    ],
)  # fmt: skip
def test_a_faulty_sweep_of_a_scene_is_refused_by_name(tmp_path: Path, change: Any, text: str) -> None:
    stamp = int(scene(tmp_path / "s.h5")["timestamp_ns"][1])
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        change(file[str(stamp)])
    with pytest.raises(InputError, match=f"scene .*s.h5, sweep {stamp}: {text}"):
        import_scene(tmp_path / "s.h5", tmp_path / "data", "val")
    assert not list((tmp_path / "data").rglob("*.*"))


def test_a_scene_with_a_sweep_that_is_no_group_is_refused(tmp_path: Path) -> None:
    scene(tmp_path / "s.h5")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["5"] = np.zeros(3)
    with pytest.raises(InputError, match=r"sweep 5 is no group of fields"):
        import_scene(tmp_path / "s.h5", tmp_path / "data", "val")


def test_importing_a_scene_holds_a_sweep_and_not_the_scene(tmp_path: Path) -> None:
    def peak(sweeps: int) -> int:
        scene(tmp_path / f"{sweeps}.h5", sweeps, points=5000)
        gc.collect()
        tracemalloc.start()
        import_scene(tmp_path / f"{sweeps}.h5", tmp_path / "data", "val")
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)  # what is imported or cached once
    few, many = peak(4), peak(32)
    assert many < 1.5 * few


def test_scenes_are_converted_in_the_store_and_leave_nothing(project: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TMPDIR", str(project / "tmp"))
    (project / "tmp").mkdir()
    tempfile.tempdir = None
    try:
        for name in ("a", "b"):
            scene(project / "scenes" / f"{name}.h5")
        run(["--predictions", "scenes", "--output", "m.json"])
    finally:
        tempfile.tempdir = None
    assert json.loads(Path("m.json").read_text())["protocol"]["logs"] == 2
    assert not list((project / "tmp").rglob("*.h5"))
    kept = {path.name for path in (project / "store").rglob("*.h5")}
    assert kept == {"model.h5", "baselines.h5"}


def test_scenes_of_two_results_or_beside_other_files_are_refused(project: Path) -> None:
    scene(project / "scenes" / "a.h5", result="one")
    scene(project / "scenes" / "b.h5", result="two")
    with pytest.raises(SystemExit, match=r"a.h5 holds the result one and b.h5 the result two; name one with --result"):
        run(["--predictions", "scenes"])
    write_split(project, [log_arrays(0, 2, 50)])
    (project / "scenes" / "b.h5").write_bytes((project / "data/predictions/val/log-00.h5").read_bytes())
    with pytest.raises(SystemExit, match=r"scenes of OpenSceneFlow and b.h5, which is none"):
        run(["--predictions", "scenes"])


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
    assert len(open_source(tmp_path / "v3", ours.frames, "all").families) == 4
    (tmp_path / "v3" / f"{stamp}.feather").write_bytes(b"ARROW1 and then nothing")
    damaged = open_source(tmp_path / "v3", ours.frames, "all")
    for read in (lambda: damaged.families, lambda: damaged.predict(ours, 0)):
        with pytest.raises(InputError, match=f"v3/{stamp}.feather cannot be read"):
            read()


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"flow_tx_m": [0.0], "flow_ty_m": [0.0]}, "has no column flow_tz_m"),
        (
            {"flow_tx_m": [0.0], "flow_ty_m": [0.0], "flow_tz_m": ["far"]},
            "column flow_tz_m has empty cells or holds no",
        ),
    ],
)
def test_a_later_feather_of_other_columns_is_refused(tmp_path: Path, columns: dict[str, Any], text: str) -> None:
    arrays = log_arrays(2, 3, 80)
    (log,) = write_split(tmp_path, [arrays])
    ours = labels(tmp_path / "data", log)
    first, second = (str(stamp) for stamp in arrays["timestamp_ns"][:2])
    write_feather(tmp_path / "v3" / f"{first}.feather", flow_columns(np.zeros((len(ours.frames.xyz(0)), 3))))
    write_feather(tmp_path / "v3" / f"{second}.feather", {name: np.array(value) for name, value in columns.items()})
    source = open_source(tmp_path / "v3", ours.frames, "all")
    assert source.predict(ours, 0) is not None
    with pytest.raises(InputError, match=f"{second}.feather:? {text}"):
        source.predict(ours, 1)


def test_a_v1_file_of_other_masks_names_them_as_the_remedy(tmp_path: Path) -> None:
    arrays = log_arrays(2, 3, 80)
    (log,) = write_split(tmp_path, [arrays])
    ours = labels(tmp_path / "data", log)
    kept = int(ours.v1_mask(0).sum())
    columns = {**flow_columns(np.zeros((kept - 1, 3))), "is_dynamic": np.zeros(kept - 1, dtype=bool)}
    write_feather(tmp_path / "v1" / f"{arrays['timestamp_ns'][0]}.feather", columns)
    with pytest.raises(
        InputError, match=f"has {kept - 1} rows, but the v1 mask by rule keeps {kept} of .* --masks ZIP"
    ):
        open_source(tmp_path / "v1", ours.frames, "all").predict(ours, 0)


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


def leaderboard_folder(root: Path, log: str, arrays: dict[str, Any]) -> None:
    """v2 files of every pair of a log, all zero."""
    for t in range(len(arrays["timestamp_ns"]) - 1):
        count = int(np.diff(arrays["frame_start"])[t])
        columns = {"is_valid": np.ones(count, dtype=bool), **flow_columns(np.zeros((count, 3)))}
        write_feather(root / log / f"{t:010d}.feather", columns)


def test_a_leaderboard_folder_has_provenance_tables_and_the_models_own_protocol(project: Path) -> None:
    arrays = log_arrays(0, 7, 90)
    (log,) = write_split(project, [arrays])
    leaderboard_folder(project / "theirs", log, arrays)
    run(["--predictions", "theirs", "--frames", "official", "--output", "out/m.json"])
    content = json.loads(Path("out/m.json").read_text())
    assert content["provenance"]["format"] == "v2" and len(content["provenance"]["digest"]) == 64
    # Its files have no numbers of v1, while the baselines do.
    assert (content["protocol"]["frames_v1"], content["protocol"]["frames_v2"]) == (0, 2)
    assert "v1" not in content["model"] and "v1" in content["nearest"]
    tables = {path.name for path in Path("out/m-tables").iterdir()}
    assert tables == {f"{name}.parquet" for name in ("logs", "classes", "distances", "speeds", "bootstrap")}

    file = project / "theirs" / log / "0000000000.feather"
    columns = {name: values.copy() for name, values in read_feather(file, "file").items()}
    columns["flow_tx_m"][0] = 1.0
    write_feather(file, columns)
    run(["--predictions", "theirs", "--frames", "official", "--output", "n.json", "--tables", "elsewhere"])
    assert {path.name for path in Path("elsewhere").iterdir()} == tables and not Path("n-tables").exists()
    changed = json.loads(Path("n.json").read_text())["provenance"]["digest"]
    assert changed != content["provenance"]["digest"]


def test_two_sources_of_a_log_and_two_formats_are_refused(project: Path) -> None:
    arrays = [log_arrays(i, 2, 50) for i in range(2)]
    names = write_split(project, arrays)
    predictions = project / "data" / "predictions" / "val"
    leaderboard_folder(predictions, names[0], arrays[0])
    with pytest.raises(SystemExit, match="two predictions of log log-00, log-00.h5 and log-00/; remove one"):
        run(["--predictions", str(predictions)])
    (predictions / "log-00.h5").unlink()
    with pytest.raises(SystemExit, match="has log log-01 as h5 and log log-00 as v2; score one format at a time"):
        run(["--predictions", str(predictions)])


def test_a_missing_catalog_or_a_senseless_zip_is_found_before_scoring(project: Path) -> None:
    write_split(project, [log_arrays(0, 2, 50)])
    arguments = ["--predictions", "data/predictions/val", "--frames", "official", "--masks", "masks.zip"]
    with pytest.raises(SystemExit, match="mask zip masks.zip does not exist"):
        run(arguments)
    Path("masks.zip").write_bytes(b"no zip")
    with pytest.raises(SystemExit, match="mask zip masks.zip cannot be read"):
        run(arguments)
    with zipfile.ZipFile("masks.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(SystemExit, match="masks.zip is no mask zip"):
        run(arguments)
    Path("data/catalog/val.json").unlink()
    with pytest.raises(SystemExit, match="val.json does not exist"):
        run(arguments[:2])
    assert not (project / "store").exists()


def test_missing_frames_follow_params_yaml_and_leave_a_trace(project: Path) -> None:
    arrays = log_arrays(0, 4, 50)
    arrays["pair_next"][1] = False  # not predicted, below
    (log,) = write_split(project, [arrays])
    truth = project / "data" / "truth" / "val" / f"{log}.h5"
    rewrite(truth, has_flow=np.array([True, True, True, False]))
    Path("params.yaml").write_text(PARAMS.replace("missing: refuse", "missing: ego_motion"))
    run(["--predictions", "data/predictions/val", "--output", "m.json"])
    protocol = json.loads(Path("m.json").read_text())["protocol"]
    assert (protocol["missing_frames"], protocol["frames_imputed"], protocol["frames_v1"]) == ("ego_motion", 1, 3)
    with pytest.raises(SystemExit, match="has no prediction of frame 1"):
        run(["--predictions", "data/predictions/val", "--missing", "refuse"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--draws", "a", "b"], "one of the arguments --predictions --compare is required"),
        (["--predictions", "x", "--draws", "a", "b"], "--draws belongs to --compare"),
        (["--compare", "a", "b", "--masks", "c"], "--masks belongs to --predictions"),
    ],
)
def test_options_that_do_not_belong_together(project: Path, capsys: Any, arguments: list[str], text: str) -> None:
    assert is_command(arguments)
    with pytest.raises(SystemExit):
        run(arguments)
    assert text in capsys.readouterr().err


def test_help_of_the_stage_shows_every_option_and_so_do_the_docs() -> None:
    assert not is_command([]) and not is_command(["--params", "other.yaml"]) and not is_command(["--params=o.yaml"])
    shown = subprocess.run(
        [sys.executable, "-m", "stages.evaluate", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    docs = (ROOT / "docs" / "evaluation.md").read_text()
    for action in parser()._actions:
        for option in action.option_strings:
            assert option in shown
            assert option in ("-h", "--help") or f"`{option}" in docs, option
