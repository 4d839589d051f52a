# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The report: what is in it, that it needs nothing else, and that less data give a smaller report."""

import base64
import dataclasses
import html
import io
import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from stages.pipeline.digest import path_digests
from stages.rendering.charts import speed_figure
from stages.rendering.contents import Contents, Labels, Shown
from stages.rendering.sections import worst
from stages.rendering.statistics import FrameStatistics
from stages.rendering.svg import Dot, dot_chart, line_chart, ticks
from tests.rendering.splits import KNOBS, enter, report, whole_split

NO_LABELS = Labels([], "")
ALONE = {"meta", "link", "img", "source", "br", "wbr", "line", "circle", "polygon", "polyline", "hr"}


class Page(HTMLParser):
    """Tags with their attributes, and the text; unbalanced tags fail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ALONE:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as monkeypatch:
        whole_split(root, monkeypatch)
        return root, report(root)


def test_nothing_outside_of_the_page_is_referred_to(rendered: tuple[Path, str]) -> None:
    page = Page(rendered[1])
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert "url(" not in rendered[1]
    assert "@import" not in rendered[1]
    assert page.all("script") == []
    assert not re.search(r"https?://", rendered[1])


def test_every_link_leads_somewhere(rendered: tuple[Path, str]) -> None:
    page = Page(rendered[1])
    anchors = {str(attributes.get("id")) for _, attributes in page.tags if "id" in attributes}
    assert {str(link["href"])[1:] for link in page.all("a")} == anchors


def test_every_picture_has_a_description_and_is_as_large_as_it_says(rendered: tuple[Path, str]) -> None:
    images = Page(rendered[1]).all("img")
    assert len(images) == 1 + 1 + 2 * 3 + 2 * 3 + 3  # wheel, animation, two frames, two of the worst, labels
    for image in images:
        assert image["alt"], image
        data = base64.b64decode(str(image["src"]).partition(",")[2])
        with Image.open(io.BytesIO(data)) as decoded:
            assert decoded.size == (int(str(image["width"])), int(str(image["height"])))
    charts = [svg for svg in Page(rendered[1]).all("svg") if svg.get("class") != "key"]
    assert charts
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in charts)


def test_the_numbers_are_those_of_the_metric_file(rendered: tuple[Path, str]) -> None:
    root, text = rendered
    metrics = json.loads((root / "metrics/val.json").read_text())
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', text)
    cells = {name: re.findall(r'<data value="([^"]*)">([^<]*)</data>', row) for name, row in rows if "<data" in row}
    exact = [float(value) for value, _ in cells["moving objects"]]
    assert exact == [metrics[name]["threeway"]["fd"] for name in ("model", "nearest", "ego_motion", "no_motion")]
    assert [read for _, read in cells["moving objects"]] == [f"{value:.3f}" for value in exact]
    first = re.search(r'<div class="tile"><b><data value="([^"]*)">', text)
    assert first
    assert float(first[1]) == metrics["model"]["bucketed"]["dynamic"]["mean"]
    low, high = metrics["intervals"]["model"]["threeway"]["fd"]
    assert f"<small>{low:.3f}–<wbr>{high:.3f}</small>" in text


def test_the_animation_has_its_pairs_and_a_still(rendered: tuple[Path, str]) -> None:
    page = Page(rendered[1])
    [source] = page.all("source")
    assert source["media"] == "(prefers-reduced-motion: reduce)"
    moving = next(image for image in page.all("img") if "pairs of log" in str(image["alt"]))
    with Image.open(io.BytesIO(base64.b64decode(str(moving["src"]).partition(",")[2]))) as decoded:
        assert decoded.n_frames == 3
        assert decoded.size == (2 * 96 + 6, 96)


def test_the_worst_frames_are_named_with_their_command(rendered: tuple[Path, str]) -> None:
    root, text = rendered
    table = pl.read_parquet(root / "report/frames.parquet")
    assert len(table) == 4 + 3
    greatest = table.sort("error_moving", descending=True).row(0, named=True)
    command = f"python -m stages.view --split val --log {greatest['log_id']} --frame {greatest['frame']}"
    first = re.search(r"<pre>(.*?)</pre>", text)
    assert first
    assert re.sub("<[^>]*>", "", first[1]) == command


def test_the_command_of_a_strange_id_is_one_word_for_a_shell() -> None:
    frame = FrameStatistics("my log; rm x", 3, 10, 5, 5, 1.0, 0.5, 0.1)
    contents = Contents("val", KNOBS, {}, {}, Path("t"), Path("c"), 1, 1, 1, [], [Shown(frame, [])], None, NO_LABELS)
    text = re.search(r"<pre>(.*?)</pre>", "".join(worst(contents)))
    assert text
    words = shlex.split(html.unescape(re.sub("<[^>]*>", "", text[1])))
    assert words[3:] == ["--split", "val", "--log", "my log; rm x", "--frame", "3"]


def test_pictures_for_plots(rendered: tuple[Path, str]) -> None:
    files = sorted((rendered[0] / "report/pictures").iterdir())
    assert [file.name for file in files] == ["frame-1.png", "frame-2.png", "labels.png"]
    for file in files:
        with Image.open(file) as picture:
            assert picture.size == (3 * 128 + 2 * 6, 128)
            assert picture.info == {}  # no dates, no names of programs


def test_a_second_run_gives_the_same_bytes(rendered: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    root = rendered[0]
    monkeypatch.chdir(root)
    monkeypatch.setenv("SCENEFLOW_STORE", str(root / "another"))
    monkeypatch.setenv("SCENEFLOW_WORKERS", "2")
    before = path_digests(root / "report")
    report(root)
    assert path_digests(root / "report") == before
    assert str(root) not in rendered[1]
    assert not list(root.glob(".report*"))


@pytest.fixture
def split(rendered: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the scored split, with what the store holds of it, to take things out of."""
    root = tmp_path / "copy"
    shutil.copytree(rendered[0], root)
    enter(root, monkeypatch)
    return root


def without(root: Path, *paths: str) -> None:
    for path in paths:
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()


def test_an_empty_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_split(tmp_path, monkeypatch, ())
    text = Page(report(tmp_path)).text
    for sentence in ("The val split has no logs.", "Nothing was scored", "no pair of sweeps", "No frame has truth"):
        assert sentence in text


def test_a_split_without_annotations(split: Path) -> None:
    without(split, "data/truth/val", "data/boxes/val", "data/evaluation", "metrics/val.json")
    (split / "data/truth/val").mkdir()  # which the stage writes, empty
    page = Page(report(split))
    assert "predicted to move; no truth." in page.text
    assert len(page.all("img")) == 1 + 1 + 2 + 3  # wheel, animation, two predictions, labels
    assert "Nothing was scored" in page.text


def test_one_log_of_two_is_annotated(split: Path) -> None:
    without(split, "data/truth/val/log-01.h5")
    assert "2 logs, 1 of them annotated" in Page(report(split)).text


def test_one_pair_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_split(tmp_path, monkeypatch, (2,), scored=False)
    page = Page(report(tmp_path))
    assert "1 pair of log log-00" in page.text
    assert [path.name for path in sorted((tmp_path / "report/pictures").iterdir())] == ["frame-1.png", "labels.png"]


def test_a_single_sweep_has_no_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_split(tmp_path, monkeypatch, (1,), scored=False)
    assert "There is no pair of sweeps to show." in Page(report(tmp_path)).text


def test_no_clusters_no_curves_no_quality(split: Path) -> None:
    without(split, "data/clusters", "data/curves", "metrics/labels.json")
    text = Page(report(split)).text
    assert "no clusters to show" in text
    assert "Training left no curves." in text


def test_knobs_at_zero_leave_things_out(split: Path) -> None:
    animation = dataclasses.replace(KNOBS.animation, frames=0)
    page = Page(report(split, dataclasses.replace(KNOBS, frames=0, worst=0, animation=animation)))
    assert len(page.all("img")) == 3  # labels
    assert "no pair of sweeps" not in page.text


def test_the_animation_alone(split: Path) -> None:
    page = Page(report(split, dataclasses.replace(KNOBS, frames=0, worst=0)))
    assert "no pair of sweeps" not in page.text
    assert "3 pairs of log" in page.text
    assert len(page.all("img")) == 1 + 1 + 3  # wheel, animation, labels
    assert "frames with the most moving points" not in page.text


def test_names_are_escaped(split: Path) -> None:
    metrics = json.loads((split / "metrics/val.json").read_text())
    metrics["provenance"]["trained"] = '<script>alert("x")</script> & more'
    (split / "metrics/val.json").write_text(json.dumps(metrics))
    page = Page(report(split))
    assert page.all("script") == []
    assert 'Trained with <script>alert("x")</script> & more.' in page.text


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1.03, [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2]),
        (1, 12, [0, 2, 4, 6, 8, 10, 12]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_ticks(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(wanted)


def test_a_dot_lies_where_its_value_is() -> None:
    chart = dot_chart("t", "m", ["a"], {"model": [Dot(0.5, 0.25, 1.0)]})
    grid = [float(x) for x in re.findall(r'class="grid" x1="([\d.]+)"', chart)]  # at 0, 0.2 … 1
    circle = re.search(r'cx="([\d.]+)"', chart)
    assert circle
    assert float(circle[1]) == pytest.approx((grid[0] + grid[-1]) / 2, abs=0.1)
    interval = re.search(r'interval" x1="([\d.]+)" x2="([\d.]+)"', chart)
    assert interval
    assert float(interval[2]) == pytest.approx(grid[-1], abs=0.1)


def test_speeds_are_pooled_by_their_points() -> None:
    """Three points of 0.1 m with error 0.2 m and one of 0.18 m with error 0.6 m share the first bin of 0.2 m."""
    rows = [
        ("car", 0.08, 3, 0.2, 0.1),
        ("pedestrian", 0.16, 1, 0.6, 0.18),
        ("car", 0.2, 2, 0.5, 0.21),
        ("background", 0.0, 9, 9.0, 0.0),
    ]
    table = pl.DataFrame(
        [("model", "all", *row) for row in rows] + [("model", "35m", *rows[0])],
        schema=["prediction", "region", "class", "from_m", "points", "error_m", "speed_m"],
        orient="row",
    )
    figure = speed_figure(table)
    assert re.findall(r'<th scope="row">([^<]*)</th><td>([^<]*)</td>', figure) == [("0.12", "0.300"), ("0.21", "0.500")]


def test_charts_without_values() -> None:
    assert "<svg" in dot_chart("t", "m", [], {"model": []})
    assert "<svg" in line_chart("t", "x", "y", {"model": []})
