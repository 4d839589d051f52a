# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import json
import math
from pathlib import Path
from typing import Any

import pytest

from stages.evaluation.accumulate import Accumulator
from stages.evaluation.families import FrameScorer, all_metrics
from tests.evaluation.synthetic import synthetic_errors, synthetic_truth

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text())
META = {
    "background": "BACKGROUND",
    "car": "CAR",
    "other_vehicles": "OTHER_VEHICLES",
    "pedestrian": "PEDESTRIAN",
    "wheeled_vru": "WHEELED_VRU",
    "foreground": "FOREGROUND",
}

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return all_metrics(_accumulate([0, 1, 2]).totals())


def _accumulate(frames: list[int]) -> Accumulator:
    totals = Accumulator()
    for k in frames:
        truth = synthetic_truth(k)
        totals.add(FrameScorer(truth).sums(synthetic_errors(k, truth)))
    return totals


def same(ours: dict[str, float], official: dict[str, float | None], tolerance: float) -> None:
    """Equal to the tolerance, and absent exactly where the official number is absent."""
    expected = {key: value for key, value in official.items() if value is not None}
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert math.isclose(ours[key], value, rel_tol=0, abs_tol=tolerance), (key, ours[key], value)


def by_class(golden: dict[str, Any], region: str, part: int) -> dict[str, Any]:
    names = {official: name for name, official in META.items()}
    numbers = {names[key]: pair[part] for key, pair in golden[f"classes_{region}"].items()}
    return {"mean": golden[f"mean_{region}"][part], **numbers}


def test_v1_all_38_numbers(metrics: dict[str, Any]) -> None:
    official = GOLDEN["v1_synthetic"]["pooled"]
    assert len(official) == 38
    angles = {key: value for key, value in official.items() if key.startswith("Angle")}
    same({k: v for k, v in metrics["v1"].items() if k in angles}, angles, 1e-7)
    others = {key: value for key, value in official.items() if key not in angles}
    same({k: v for k, v in metrics["v1"].items() if k not in angles}, others, 1e-9)


def test_v1_headline(metrics: dict[str, Any]) -> None:
    pooled = GOLDEN["v1_synthetic"]["pooled"]
    assert metrics["threeway"]["mean"] == pytest.approx(pooled["EPE 3-Way Average"], abs=1e-9)
    assert metrics["threeway"]["dynamic_iou"] == pytest.approx(pooled["Dynamic IoU"], abs=1e-9)


@pytest.mark.parametrize("k", [0, 1, 2])
def test_v1_single_frames(k: int) -> None:
    threeway = all_metrics(_accumulate([k]).totals())["threeway"]
    assert threeway["mean"] == pytest.approx(GOLDEN["v1_synthetic"]["per_frame_three_way"][k], abs=1e-9)
    assert threeway["dynamic_iou"] == pytest.approx(GOLDEN["v1_synthetic"]["per_frame_dynamic_iou"][k], abs=1e-9)


def test_v1_counts() -> None:
    count = _accumulate([0, 1, 2]).totals()["v1_count"]
    groups = {"Background": count[0], "Foreground": count[1:].sum(axis=0)}
    for key, expected in GOLDEN["v1_synthetic"]["pooled_counts"].items():
        group, motion, distance = key.split("/")
        assert groups[group][int(motion == "Dynamic"), int(distance == "Far")] == expected


@pytest.mark.parametrize(("region", "suffix"), [("35", ""), ("inf", "_all")])
@pytest.mark.parametrize(("kind", "name"), [("bucketed_epe", "bucketed"), ("threeway_epe", "threeway_v2")])
def test_v2(metrics: dict[str, Any], region: str, suffix: str, kind: str, name: str) -> None:
    golden = GOLDEN["v2_synthetic"][kind]
    same(metrics[name + suffix]["static"], by_class(golden, region, 0), 1e-9)
    same(metrics[name + suffix]["dynamic"], by_class(golden, region, 1), 1e-9)


def test_opensceneflow(metrics: dict[str, Any]) -> None:
    golden = GOLDEN["osf"]["synthetic"]
    ours = metrics["opensceneflow"]
    names = {"mean": "Three-way", "fd": "EPE_FD", "fs": "EPE_FS", "bs": "EPE_BS", "dynamic_iou": "IoU"}
    same(ours["threeway"], {short: golden["v1"][name] for short, name in names.items()}, 1e-9)
    labels = {"mean": "Mean", **{key: META[key] for key in META if key != "foreground"}}
    for motion in ("Static", "Dynamic"):
        expected = {key: golden["v2"][label][motion] for key, label in labels.items()}
        same(ours["bucketed"][motion.lower()], expected, 1e-9)


@pytest.mark.parametrize("motion", ["Static", "Dynamic"])
def test_ranges(metrics: dict[str, Any], motion: str) -> None:
    rows = GOLDEN["osf"]["synthetic"]["range_wise"]
    golden = {key.replace("Mean", "mean"): row[motion] for key, row in rows.items()}
    same(metrics["range"][motion.lower()], golden, 1e-9)
    same(metrics["opensceneflow"]["range"][motion.lower()], golden, 1e-9)
