# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.errors import InputError
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.compare import comparison
from stages.evaluation.evaluate import EvaluateParameters
from stages.evaluation.protocol import (
    CHANGES,
    METRIC_VERSION,
    differences,
    ground_text,
    protocol,
    provenance,
    require_same,
)

LOG = {"truth": "official", "ground": "map", "mask": "rule", "frames_v1": 3, "frames_v2": 4}


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "val.json"
    path.write_text("{}\n")
    return path


def test_says_what_was_scored(catalog: Path) -> None:
    found = protocol(catalog, "all", "refuse", {"a": LOG, "b": LOG})
    assert found["metric_version"] == METRIC_VERSION == max(CHANGES)
    assert (found["logs"], found["frames_v1"], found["frames_v2"], found["truth"]) == (2, 6, 8, "official")
    assert len(found["catalog"]) == 64
    assert str(catalog.parent) not in json.dumps(found)


def test_catalog_is_needed_and_decides(catalog: Path) -> None:
    before = protocol(catalog, "all", "refuse", {})
    catalog.write_text('{"log": 1}\n')
    assert differences(before, protocol(catalog, "all", "refuse", {}))[0].startswith("protocol.catalog")
    catalog.unlink()
    with pytest.raises(InputError, match="val.json does not exist"):
        protocol(catalog, "all", "refuse", {})


def test_truth_of_two_recipes_is_refused_by_log(catalog: Path) -> None:
    with pytest.raises(InputError, match="log a has truth of recipe official and log b .* grown"):
        protocol(catalog, "all", "refuse", {"a": LOG, "b": {**LOG, "truth": "grown"}})


def test_ground_of_logs_without_a_map_is_named() -> None:
    assert "0.3 m" in ground_text(["map", "map"])
    assert ground_text(["patchwork++"]) == "patchwork++, for v1 and v2 alike"
    assert ground_text(["map", "patchwork++"]).endswith("1 logs without a map by patchwork++")


def test_an_official_mask_zip_is_named_by_its_digest(catalog: Path, tmp_path: Path) -> None:
    masks = tmp_path / "val-masks.zip"
    masks.write_bytes(b"masks")
    by_rule, by_zip = (protocol(catalog, "official", "refuse", {}, zip_) for zip_ in (None, masks))
    assert [text.split(":")[0] for text in differences(by_rule, by_zip)] == ["protocol.masks.v1"]


def test_provenance_is_what_the_files_share() -> None:
    file = {"schema": "predictions/1", "log_id": "a", "frames_digest": "1", "weights_digest": "w", "device": "cpu"}
    assert provenance({"a": file, "b": {**file, "log_id": "b"}}) == {"device": "cpu", "weights_digest": "w"}
    assert provenance({}) == {}
    with pytest.raises(InputError, match="log a has predictions with weights_digest w and log b .* v;"):
        provenance({"a": file, "b": {**file, "weights_digest": "v"}})


def test_masks_need_the_official_frames() -> None:
    with pytest.raises(ValueError, match="^mask_zip"):
        EvaluateParameters("all", "masks.zip", "refuse", BootstrapParameters(1, 0, 0.5))


@pytest.mark.parametrize(
    ("field", "values"), [("resamples", (0, 0, 0.5)), ("seed", (1, -1, 0.5)), ("level", (1, 0, 1.0))]
)
def test_senseless_bootstrap_parameters_are_refused_by_name(field: str, values: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        BootstrapParameters(*values)


def metric_file(path: Path, dynamic: float, **changed: Any) -> Path:
    content = {
        "protocol": {"metric_version": 1, "frames": "all", **changed},
        "model": {"bucketed": {"dynamic": {"mean": dynamic}}},
        "intervals": {"unit": "logs", "units": 9, "resamples": 4, "seed": 0, "level": 0.5},
    }
    path.write_text(json.dumps(content))
    return path


def test_comparison_of_equal_protocols(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.375)
    assert "bucketed.dynamic.mean          0.5000     0.3750    -0.1250" in comparison(a, b)


def test_comparison_with_draws_gives_the_interval_of_the_change(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.375)
    for name, values in (("a", [0.5, 0.6, 0.4, 0.5]), ("b", [0.375, 0.475, 0.275, 0.375])):
        rows = {"prediction": ["model"] * 4 + ["nearest"], "resample": [0, 1, 2, 3, 0]}
        pq.write_table(pa.table({**rows, "bucketed.dynamic.mean": [*values, 9.0]}), tmp_path / f"{name}.parquet")
    text = comparison(a, b, tmp_path / "a.parquet", tmp_path / "b.parquet")
    # Each draw changes by the same: the interval of the change is far narrower than either number's.
    assert "-0.1250   -0.1250 to -0.1250" in text


def test_different_protocols_are_refused_with_the_difference(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.4, frames="official")
    with pytest.raises(InputError, match=r"protocol\.frames: 'all' against 'official'"):
        comparison(a, b)
    with pytest.raises(InputError, match=r"x and y cannot be compared: protocol\.masks\.v1: 1 against 2"):
        require_same(("x", "y"), {"masks": {"v1": 1}}, {"masks": {"v1": 2}})


def test_draws_of_other_resamples_are_refused(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.4)
    content = json.loads(b.read_text())
    content["intervals"]["seed"] = 1
    b.write_text(json.dumps(content))
    with pytest.raises(InputError, match="differ in seed"):
        comparison(a, b, tmp_path / "a.parquet", tmp_path / "b.parquet")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": {}}'])
def test_what_is_no_metric_file_is_refused(tmp_path: Path, text: str) -> None:
    good, bad = metric_file(tmp_path / "a.json", 0.5), tmp_path / "bad.json"
    bad.write_text(text)
    with pytest.raises(InputError, match="bad.json is not a metric file"):
        comparison(good, bad)
