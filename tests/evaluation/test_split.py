# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A whole split: frames, refusals, merging, workers."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.errors import InputError
from stages.evaluation.accumulate import Accumulator
from stages.evaluation.archive import write_archive
from stages.evaluation.bootstrap import BootstrapParameters, intervals, resampled
from stages.evaluation.evaluate import EvaluateParameters, score_pipeline
from stages.evaluation.families import FrameScorer, all_metrics
from stages.evaluation.frame import frame_errors
from stages.evaluation.headline import HEADLINE, headline, headline_metrics
from stages.evaluation.labels import LogLabels
from stages.evaluation.masks import MaskZip
from stages.evaluation.predictions import FLOW_COLUMNS
from stages.evaluation.scores import ScoreParameters, baseline_log, model_log, read_scores
from stages.evaluation.selection import families_of, v1_phases
from stages.evaluation.split import SplitScores, merge_scores, report
from stages.evaluation.submission import write_feather
from tests.evaluation.data import log_arrays, write_log, write_predictions, write_split

ALL = ScoreParameters("all", "refuse")
BOOTSTRAP = BootstrapParameters(resamples=50, seed=3, level=0.9)


def inputs_of(data: Path, log: str) -> dict[str, Path]:
    return {kind: data / kind / "val" / f"{log}.h5" for kind in ("frames", "truth", "ground", "predictions")}


def scored(data: Path, log: str, output: Path, parameters: ScoreParameters = ALL, phase: int = 0) -> None:
    (output / "model").mkdir(parents=True, exist_ok=True)
    (output / "baselines").mkdir(parents=True, exist_ok=True)
    inputs = inputs_of(data, log)
    model_log(log, inputs, {"scores": output / "model" / f"{log}.h5"}, parameters, {"phase": phase})
    baseline_log(log, inputs, {"scores": output / "baselines" / f"{log}.h5"}, parameters, {"phase": phase})


@pytest.fixture(scope="module")
def three(tmp_path_factory: Any) -> tuple[Path, Path]:
    """Three logs, the second with a gap after frame 2, and their scores."""
    root = tmp_path_factory.mktemp("three")
    logs = write_split(root, [log_arrays(0, 7, 900), log_arrays(1, 6, 800, gap_after=2), log_arrays(2, 2, 700)])
    for log in logs:
        scored(root / "data", log, root / "scores")
    return root / "data", root / "scores"


def by_hand(data: Path, order: list[tuple[str, int]]) -> dict[str, Any]:
    totals = Accumulator()
    for log, t in order:
        labels = LogLabels.open(log, inputs_of(data, log))
        truth = labels.frame(t)
        residual = np.zeros_like(truth.points)
        totals.add(FrameScorer(truth).sums(frame_errors(truth, residual)))
    return all_metrics(totals.totals())


def test_merged_logs_equal_one_pass_over_all_frames_in_any_order(three: tuple[Path, Path]) -> None:
    data, scores = three
    frames = [("log-00", t) for t in range(6)] + [("log-01", t) for t in (0, 1, 3, 4)] + [("log-02", 0)]
    metrics = report(merge_scores(scores), BOOTSTRAP)[0]
    assert metrics["ego_motion"] == by_hand(data, frames) == by_hand(data, frames[::-1])
    assert metrics["ego_motion"]["bucketed"]["dynamic"]["mean"] == pytest.approx(1.0, abs=1e-6)


def test_report_has_every_family_in_a_fixed_order(three: tuple[Path, Path]) -> None:
    metrics, _ = report(merge_scores(three[1]), BOOTSTRAP)
    assert list(metrics) == ["model", "nearest", "ego_motion", "no_motion", "intervals"]
    families = [
        "bucketed",
        "bucketed_all",
        "threeway",
        "threeway_v2",
        "threeway_v2_all",
        "range",
        "v1",
        "opensceneflow",
    ]
    for name in ("model", "nearest", "ego_motion", "no_motion"):
        assert list(metrics[name]) == families
        assert len(metrics[name]["v1"]) == 38
    assert list(metrics["model"]["bucketed"]["dynamic"]) == [
        "mean",
        "car",
        "other_vehicles",
        "pedestrian",
        "wheeled_vru",
    ]
    assert next(iter(metrics["model"]["bucketed"]["static"])) == "mean"


def test_few_logs_are_resampled_by_blocks_and_many_by_logs(three: tuple[Path, Path]) -> None:
    merged = merge_scores(three[1])
    assert merged.unit == "blocks of 5 consecutive frames"
    # Frames 0-4 and 5 of the first log, 0-4 of the second, 0 of the third.
    assert len(merged.units["model"]) == 4
    whole = {key: sum(unit[key] for unit in merged.units["model"]) for key in merged.units["model"][0]}
    expected = headline_metrics(headline(merged.totals["model"].totals()))
    for path, value in headline_metrics(whole).items():
        assert value == pytest.approx(expected[path], rel=1e-12)


def test_intervals_are_seeded_and_hold_the_number(three: tuple[Path, Path]) -> None:
    units = merge_scores(three[1]).units["model"]
    first, again = resampled(units, BOOTSTRAP), resampled(units, BOOTSTRAP)
    assert all(np.array_equal(first[path], again[path], equal_nan=True) for path in HEADLINE)
    other = resampled(units, BootstrapParameters(50, 4, 0.9))
    assert not np.array_equal(first["threeway", "mean"], other["threeway", "mean"])
    low, high = intervals(first, 0.9)["bucketed"]["dynamic"]["mean"]
    assert low < report(merge_scores(three[1]), BOOTSTRAP)[0]["model"]["bucketed"]["dynamic"]["mean"] < high


def test_a_single_unit_has_no_interval(three: tuple[Path, Path]) -> None:
    units = merge_scores(three[1]).units["model"][:1]
    assert resampled(units, BOOTSTRAP) == {} and intervals({}, 0.9) == {}


def test_v1_stride_runs_on_across_logs_and_v2_restarts() -> None:
    assert v1_phases([7, 6, 2, 1, 11]) == [0, 4, 4, 3, 3]
    position, chosen = 0, []
    for log, sweeps in enumerate([7, 6, 2, 1, 11]):
        chosen += [(log, t) for t in range(sweeps - 1) if (position + t) % 5 == 0]
        position += sweeps - 1
    phases = v1_phases([7, 6, 2, 1, 11])
    ours = [
        (log, t)
        for log, sweeps in enumerate([7, 6, 2, 1, 11])
        for t in range(sweeps - 1)
        if "v1" in families_of(t, "official", range(phases[log], sweeps - 1, 5))
    ]
    assert ours == chosen
    assert [t for t in range(12) if "v2" in families_of(t, "official", [3, 8])] == [0, 5, 10]
    assert families_of(7, "all", []) == ("v1", "v2", "range", "opensceneflow")


def test_official_frames_score_those_frames_only(three: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = three
    scored(data, "log-00", tmp_path, ScoreParameters("official", "refuse"), phase=2)
    scores, attributes = read_scores(tmp_path / "model" / "log-00.h5")
    assert (attributes["frames_v1"], attributes["frames_v2"]) == (1, 2)  # frame 2; frames 0 and 5
    labels = LogLabels.open("log-00", inputs_of(data, "log-00"))
    assert scores.totals["model"].totals()["v1_count"].sum() == labels.frame(2).scored_v1.sum()


def test_a_log_with_one_pair_and_one_with_a_single_sweep(tmp_path: Path) -> None:
    logs = write_split(tmp_path, [log_arrays(5, 2, 300), log_arrays(6, 1, 300)])
    for log in logs:
        scored(tmp_path / "data", log, tmp_path / "scores")
    metrics = report(merge_scores(tmp_path / "scores"), BOOTSTRAP)[0]
    assert "mean" in metrics["model"]["threeway"]
    assert merge_scores(tmp_path / "scores").logs["log-01"]["frames_v1"] == 0
    json.dumps(metrics, allow_nan=False)


def test_a_split_without_logs_has_no_numbers(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    assert report(SplitScores(), BOOTSTRAP)[1] == {}
    monkeypatch.chdir(tmp_path)
    write_split(tmp_path, [])
    content = score_pipeline("val", EvaluateParameters("all", None, "refuse", BOOTSTRAP))
    assert content["model"] == content["nearest"] == {} and content["protocol"]["logs"] == 0
    assert json.loads(Path("metrics/val.json").read_text()) == content
    assert "split val has no logs" in capsys.readouterr().err


def test_a_log_without_a_map_takes_the_training_mask_and_says_so(tmp_path: Path) -> None:
    arrays = log_arrays(8, 3, 200)
    write_log(tmp_path, "val", "log-00", arrays, with_map=False)
    scored(tmp_path, "log-00", tmp_path / "scores")
    assert read_scores(tmp_path / "scores" / "model" / "log-00.h5")[1]["ground"] == "patchwork++"
    labels = LogLabels.open("log-00", inputs_of(tmp_path, "log-00"))
    rows = slice(0, int(arrays["frame_start"][1]))
    assert not (labels.frame(0).scored_v2 & arrays["ground_v1"][rows]).any()


def refused(data: Path, log: str, tmp_path: Path) -> str:
    with pytest.raises(InputError) as caught:
        model_log(log, {k: p if p.exists() else None for k, p in inputs_of(data, log).items()},
                  {"scores": tmp_path / "x.h5"}, ALL, {"phase": 0})  # fmt: skip
    assert not (tmp_path / "x.h5").exists()
    return str(caught.value)


def test_refusals_name_the_log_and_the_fault(tmp_path: Path) -> None:
    arrays = log_arrays(9, 4, 200)
    data = tmp_path / "data"
    digest = write_log(data, "val", "log-00", arrays)
    residual, flags = arrays["residual"], arrays["pair_next"]

    broken = residual.copy()
    broken[250, 1] = np.nan
    write_predictions(data, "val", "log-00", digest, broken, flags)
    text = refused(data, "log-00", tmp_path)
    assert "log log-00, frame 1" in text and "finite" in text

    write_predictions(data, "val", "log-00", digest, residual[:-1], flags)
    assert "points in 4 frames" in refused(data, "log-00", tmp_path)

    missing = flags.copy()
    missing[1] = False
    write_predictions(data, "val", "log-00", digest, residual, missing)
    assert "no prediction of frame 1" in refused(data, "log-00", tmp_path)

    write_predictions(data, "val", "log-00", "0" * 64, residual, flags)
    assert "other frames of log log-00" in refused(data, "log-00", tmp_path)

    inputs_of(data, "log-00")["predictions"].unlink()
    assert "log log-00 has no predictions" in refused(data, "log-00", tmp_path)

    write_predictions(data, "val", "log-00", digest, residual, flags)
    inputs_of(data, "log-00")["truth"].unlink()
    assert "log log-00 has no truth, since it has no annotations" in refused(data, "log-00", tmp_path)


def test_missing_frames_can_be_scored_as_ego_motion(tmp_path: Path) -> None:
    arrays = log_arrays(9, 3, 200)
    digest = write_log(tmp_path, "val", "log-00", arrays)
    nothing = np.zeros(3, dtype=bool)
    write_predictions(tmp_path, "val", "log-00", digest, arrays["residual"], nothing)
    scored(tmp_path, "log-00", tmp_path / "scores", ScoreParameters("all", "ego_motion"))
    metrics = report(merge_scores(tmp_path / "scores"), BOOTSTRAP)[0]
    assert metrics["model"] == metrics["ego_motion"]


def test_one_two_and_four_workers_give_the_same_bytes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_split(tmp_path, [log_arrays(i, 4 + i, 400) for i in range(4)])
    parameters = EvaluateParameters("all", None, "refuse", BOOTSTRAP)
    results = []
    for workers in (1, 2, 4):
        monkeypatch.setenv("SCENEFLOW_WORKERS", str(workers))
        monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / f"store{workers}"))
        content = score_pipeline("val", parameters)
        files = [Path("metrics/val.json"), *sorted(Path("data/evaluation/val").rglob("*.*"))]
        results.append({str(file): file.read_bytes() for file in files})
        assert content["protocol"]["frames_v1"] == 3 + 4 + 5 + 6
    assert results[0] == results[1] == results[2]
    tables = {Path(name).name for name in results[0]}
    assert {"logs.parquet", "classes.parquet", "distances.parquet", "speeds.parquet", "bootstrap.parquet"} <= tables
    _check_tables(Path("data/evaluation/val"), json.loads(Path("metrics/val.json").read_text()))


def _check_tables(folder: Path, content: dict[str, Any]) -> None:
    speeds = pq.read_table(folder / "speeds.parquet").to_pylist()
    cars = [
        row["error_m"] / row["speed_m"]
        for row in speeds
        if (row["prediction"], row["region"], row["class"]) == ("model", "35m", "car") and row["from_m"] > 0
    ]
    assert np.mean(cars) == pytest.approx(content["model"]["bucketed"]["dynamic"]["car"], rel=1e-12)
    classes = pq.read_table(folder / "classes.parquet").to_pylist()
    moving = [row for row in classes if (row["prediction"], row["motion"]) == ("model", "dynamic")]
    total = sum(row["points"] for row in moving if row["category"] != "BACKGROUND")
    error = sum(row["points"] * row["error_m"] for row in moving if row["category"] != "BACKGROUND")
    assert error / total == pytest.approx(content["model"]["threeway"]["fd"], rel=1e-12)
    logs = pq.read_table(folder / "logs.parquet").to_pylist()
    assert [row["log_id"] for row in logs if row["prediction"] == "nearest"] == [f"log-0{i}" for i in range(4)]
    draws = pq.read_table(folder / "bootstrap.parquet")
    assert draws.num_rows == 4 * BOOTSTRAP.resamples
    distances = pq.read_table(folder / "distances.parquet").to_pylist()
    near = [r for r in distances if (r["prediction"], r["motion"], r["from_m"]) == ("model", "dynamic", 0.0)]
    assert near[0]["error_m"] == pytest.approx(content["model"]["range"]["dynamic"]["0-35"], rel=1e-12)


def test_an_official_mask_zip_takes_the_place_of_box_and_ground(three: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = three
    labels = LogLabels.open("log-00", inputs_of(data, "log-00"))
    mask = np.arange(len(labels.frames.xyz(2))) % 2 == 0  # far and ground points among them
    stamp = int(labels.frames.timestamp_ns[2])
    write_feather(tmp_path / "masks" / "log-00" / f"{stamp}.feather", {"mask": mask})
    write_archive(tmp_path / "masks.zip", tmp_path / "masks")
    inputs = {**inputs_of(data, "log-00"), "masks": tmp_path / "masks.zip"}
    official = ScoreParameters("official", "refuse")
    model_log("log-00", inputs, {"scores": tmp_path / "a.h5"}, official, {"phase": 2})
    count = read_scores(tmp_path / "a.h5")[0].totals["model"].totals()["v1_count"].sum()
    rows = labels.frames.span(2)
    assert count == (mask & np.asarray(labels.truth.column("valid")[rows])).sum()
    with pytest.raises(InputError, match="masks.zip has no mask of log log-01; take the zip of this split"):
        model_log("log-01", {**inputs_of(data, "log-01"), "masks": tmp_path / "masks.zip"},
                  {"scores": tmp_path / "b.h5"}, official, {"phase": 3})  # fmt: skip


def mask_zip(root: Path, name: str = "masks.zip", change: Any = None) -> Path:
    """Masks of the official frames of all logs of the split, as if the split were complete."""
    folder, pairs = root / f"of-{name}", 0
    for log in sorted(path.stem for path in (root / "data" / "frames" / "val").glob("*.h5")):
        labels = LogLabels.open(log, inputs_of(root / "data", log))
        for t in range(-pairs % 5, labels.frames.num_frames - 1, 5):
            columns = {"mask": labels.v1_mask(t)}
            write_feather(folder / log / f"{int(labels.frames.timestamp_ns[t])}.feather", change or columns)
        pairs += labels.frames.num_frames - 1
    write_archive(root / name, folder)
    return root / name


def test_a_part_of_the_split_is_scored_on_the_frames_of_the_zip(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    write_split(tmp_path, [log_arrays(0, 7, 300), log_arrays(1, 8, 300)])
    masks = mask_zip(tmp_path)  # frames 0 and 5 of the first log, 4 of the second
    for folder in Path("data").iterdir():
        (folder / "val" / "log-00.h5").unlink(missing_ok=True)
    parameters = EvaluateParameters("official", str(masks), "refuse", BOOTSTRAP)
    content = score_pipeline("val", parameters)
    assert (content["protocol"]["frames_v1"], content["protocol"]["frames_v2"]) == (1, 2)
    labels = LogLabels.open("log-01", inputs_of(tmp_path / "data", "log-01"))
    points = sum(
        row["points"]
        for row in pq.read_table("data/evaluation/val/classes.parquet").to_pylist()
        if row["prediction"] == "model"
    )
    assert points == labels.frame(4).scored_v1.sum()


def test_a_faulty_mask_zip_is_refused_by_file(three: tuple[Path, Path], tmp_path: Path) -> None:
    data, official = three[0], ScoreParameters("official", "refuse")

    def score(masks: Path) -> None:
        inputs = {**inputs_of(data, "log-00"), "masks": masks}
        model_log("log-00", inputs, {"scores": tmp_path / "x.h5"}, official, {"phase": 0})

    odd = mask_zip(data.parent, "odd.zip", change={"other": np.zeros(3, dtype=bool)})
    with pytest.raises(InputError, match=r"odd.zip, log-00/\d+.feather has no column mask"):
        score(odd)
    good = mask_zip(data.parent, "good.zip")
    with zipfile.ZipFile(good) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "member.zip", "w") as archive:
        for name in entries:
            archive.writestr(name, b"ARROW1 and then nothing")
    with pytest.raises(InputError, match=r"member.zip, log-00/\d+.feather cannot be read as Feather"):
        score(tmp_path / "member.zip")
    content = bytearray(good.read_bytes())
    at = content.index(next(iter(entries.values()))) + 100
    content[at] ^= 0xFF
    (tmp_path / "bits.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"bits.zip, log-00/\d+.feather cannot be read \(Bad CRC"):
        score(tmp_path / "bits.zip")


def test_masks_are_read_once_a_frame(three: tuple[Path, Path], tmp_path: Path, monkeypatch: Any) -> None:
    masks, data = mask_zip(three[0].parent, "once.zip"), three[0]
    labels = LogLabels.open("log-00", inputs_of(data, "log-00"))
    for t in (0, 5):
        mask = labels.v1_mask(t)
        flow = dict.fromkeys(FLOW_COLUMNS, np.zeros(int(mask.sum()), dtype=np.float16))
        columns = {**flow, "is_dynamic": np.zeros(int(mask.sum()), dtype=bool)}
        write_feather(tmp_path / "v1" / f"{int(labels.frames.timestamp_ns[t])}.feather", columns)
    opened: list[Any] = []
    read = MaskZip.mask
    monkeypatch.setattr(MaskZip, "mask", lambda self, *given: opened.append(given[1]) or read(self, *given))
    inputs = {**inputs_of(data, "log-00"), "predictions": tmp_path / "v1", "masks": masks}
    model_log("log-00", inputs, {"scores": tmp_path / "x.h5"}, ScoreParameters("official", "refuse"), {"phase": 0})
    assert opened == [0, 5]
