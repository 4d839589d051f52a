# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import json
import re
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
    catalog_digest,
    differences,
    ground_text,
    protocol,
    provenance,
    require_same,
)

LOG = {
    "truth": "official",
    "ground": "map",
    "ground_digest": "",
    "mask": "rule",
    "frames_v1": 3,
    "frames_v2": 4,
    "frames_imputed": 1,
}
CATALOG = "ca" * 32


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "val.json"
    path.write_text("{}\n")
    return path


def test_says_what_was_scored(catalog: Path) -> None:
    found = protocol(catalog_digest(catalog), "all", "refuse", {"a": LOG, "b": LOG})
    assert found["metric_version"] == METRIC_VERSION == max(CHANGES)
    assert (found["logs"], found["frames_v1"], found["frames_v2"], found["truth"]) == (2, 6, 8, "official")
    assert len(found["catalog"]) == 64 and found["frames_imputed"] == 2
    assert str(catalog.parent) not in json.dumps(found)


def test_catalog_is_needed_and_decides(catalog: Path) -> None:
    before = protocol(catalog_digest(catalog), "all", "refuse", {})
    catalog.write_text('{"log": 1}\n')
    assert differences(before, protocol(catalog_digest(catalog), "all", "refuse", {}))[0].startswith("protocol.catalog")
    catalog.unlink()
    with pytest.raises(InputError, match="val.json does not exist"):
        catalog_digest(catalog)


def test_truth_of_two_recipes_is_refused_by_log() -> None:
    with pytest.raises(InputError, match="log a has truth of recipe official and log b .* grown"):
        protocol(CATALOG, "all", "refuse", {"a": LOG, "b": {**LOG, "truth": "grown"}})


def test_ground_of_logs_without_a_map_is_named() -> None:
    by_map, other, another = ("map", ""), ("patchwork++", "d1"), ("patchwork++", "d2")
    assert "0.3 m" in ground_text({"a": by_map, "b": by_map}) and ";" not in ground_text({"a": by_map})
    alone = ground_text({"a": other})
    assert alone.startswith("patchwork++ for v1 and v2 alike (masks ")
    # The same rule with other settings makes other masks, and so scores other points.
    assert alone != ground_text({"a": another})
    assert "; patchwork++ in 1 logs without a map (masks " in ground_text({"a": by_map, "b": other})


def test_every_version_of_the_metrics_stands_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    table = text[text.index("## Versions of the metrics") :]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", table, flags=re.MULTILINE)
    assert {int(version): change for version, change in rows} == CHANGES


def test_an_official_mask_zip_is_named_by_its_digest(tmp_path: Path) -> None:
    masks = tmp_path / "val-masks.zip"
    masks.write_bytes(b"masks")
    by_rule, by_zip = (protocol(CATALOG, "official", "refuse", {}, zip_) for zip_ in (None, masks))
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
    assert rows(comparison(a, b)) == [["bucketed.dynamic.mean", "0.5000", "0.3750", "-0.1250"]]


def rows(text: str) -> list[list[str]]:
    """Cells of the lines under the header."""
    return [line.split() for line in text.splitlines()[1:]]


def test_a_number_that_one_file_lacks_is_a_dash_and_long_names_have_room(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.375)
    content = json.loads(b.read_text())
    content["model"]["bucketed"]["dynamic"]["other_vehicles"] = 0.25
    b.write_text(json.dumps(content))
    text = comparison(a, b)
    assert rows(text)[1] == ["bucketed.dynamic.other_vehicles", "-", "0.2500", "-"]
    assert len({len(line) for line in text.splitlines()}) == 1  # columns end in the same place


def test_files_without_a_number_in_common_are_refused(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.375)
    content = json.loads(b.read_text())
    content["model"] = {"threeway": {"mean": 0.1}}
    b.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a.json and .*b.json have no headline number in common"):
        comparison(a, b)


def write_draws(path: Path, values: list[float]) -> Path:
    count = len(values)
    columns = {"prediction": ["model"] * count + ["nearest"], "resample": [*range(count), 0]}
    pq.write_table(pa.table({**columns, "bucketed.dynamic.mean": [*values, 9.0]}), path)
    return path


def test_draws_of_another_run_or_damaged_are_refused_by_file(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.375)
    good = write_draws(tmp_path / "good.parquet", [0.5, 0.6, 0.4, 0.5])
    short = write_draws(tmp_path / "short.parquet", [0.5, 0.6, 0.4])
    with pytest.raises(InputError, match=r"short.parquet has 3 draws, but .*b.json tells of 4"):
        comparison(a, b, good, short)
    broken = tmp_path / "broken.parquet"
    for content in (b"PAR1 and then nothing PAR1", good.read_bytes()[:-40], b""):
        broken.write_bytes(content)
        with pytest.raises(InputError, match="broken.parquet cannot be read as a table of draws"):
            comparison(a, b, good, broken)
    pq.write_table(pa.table({"x": [1]}), broken)
    with pytest.raises(InputError, match="broken.parquet cannot be read as a table of draws"):
        comparison(a, b, good, broken)
    content = json.loads(b.read_text())
    content["intervals"]["model"] = {"bucketed": {"dynamic": {"mean": [0.3, 0.4]}}}
    b.write_text(json.dumps(content))
    with pytest.raises(InputError, match="good.parquet is not the table of the run that wrote .*b.json"):
        comparison(a, b, good, good)
    del content["intervals"]
    b.write_text(json.dumps(content))
    with pytest.raises(InputError, match="b.json has no intervals"):
        comparison(a, b, good, good)


def test_comparison_with_draws_gives_the_interval_of_the_change(tmp_path: Path) -> None:
    a, b = metric_file(tmp_path / "a.json", 0.5), metric_file(tmp_path / "b.json", 0.375)
    for name, values in (("a", [0.5, 0.6, 0.4, 0.5]), ("b", [0.375, 0.475, 0.275, 0.375])):
        write_draws(tmp_path / f"{name}.parquet", values)
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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": {}}', '{"protocol": 1, "model": {}}'])
def test_what_is_no_metric_file_is_refused(tmp_path: Path, text: str) -> None:
    good, bad = metric_file(tmp_path / "a.json", 0.5), tmp_path / "bad.json"
    bad.write_text(text)
    with pytest.raises(InputError, match="bad.json is not a metric file"):
        comparison(good, bad)
