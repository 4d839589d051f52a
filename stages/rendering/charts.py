# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of the report: error by class, distance and speed, and the curves of training."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.rendering.find import find
from stages.rendering.html import figure, numbers
from stages.rendering.svg import Dot, dot_chart, legend, line_chart

if TYPE_CHECKING:
    import polars as pl

# Names of the entries of a metric file, in the order of their colours.
PREDICTIONS = {"model": "model", "nearest": "nearest neighbour", "ego_motion": "ego motion", "no_motion": "no motion"}
CLASSES = {
    "mean": "mean",
    "car": "car",
    "other_vehicles": "other vehicles",
    "pedestrian": "pedestrian",
    "wheeled_vru": "wheeled VRU",
}
_COMPARED = ("model", "nearest", "ego_motion")
_SPEED_STEP = 0.2  # m a pair: five of the buckets that the evaluation counts in
_SPEED_END = 2.0


_THREEWAY = {"mean": "mean", "fd": "moving objects", "fs": "still objects", "bs": "background"}
_SURE = ("model", "nearest", "ego_motion")


def interval_figures(report: Mapping[str, Any]) -> str:
    """Headline numbers with their intervals: normalised Dynamic error by class, and the three-way error."""
    dynamic = _interval_figure(
        report, ("bucketed", "dynamic"), CLASSES, _SURE[:2], "Dynamic error by class", "normalised error", "ego motion"
    )
    return dynamic + _interval_figure(
        report, ("threeway",), _THREEWAY, _SURE, "Three-way error", "mean end-point error, m", ""
    )


def _interval_figure(
    report: Mapping[str, Any],
    path: tuple[str, ...],
    names: Mapping[str, str],
    predictions: Sequence[str],
    caption: str,
    unit: str,
    reference: str,
) -> str:
    rows = [key for key in names if find(report, ("model", *path, key)) is not None]
    if not rows:
        return ""
    series = {PREDICTIONS[p]: [_sure(report, (p, *path, key)) for key in rows] for p in predictions}
    title = f"{caption} with confidence intervals; the table above has the numbers"
    chart = dot_chart(title, unit, [names[key] for key in rows], series, reference)
    return figure(legend(list(series)) + chart, f"{caption}, with confidence intervals")


def _sure(report: Mapping[str, Any], path: tuple[str, ...]) -> Dot | None:
    value, bounds = find(report, path), find(report, ("intervals", *path))
    return None if value is None else Dot(value, *(bounds or (None, None)))


def class_figure(table: pl.DataFrame) -> str:
    """Error in metres of the moving points of each annotated category."""
    return _error_figure(
        table, "category", "Error of moving points by category", lambda name: name.replace("_", " ").lower()
    )


def distance_figure(table: pl.DataFrame) -> str:
    """Error in metres of moving points in each range of distance."""
    import polars as pl

    names = pl.concat_str(pl.col("from_m").cast(pl.Int64), pl.lit("–"), _end("to_m"), pl.lit(" m"))
    return _error_figure(table.with_columns(names.alias("range")), "range", "Error of moving points by distance", str)


def _end(column: str) -> pl.Expr:
    import polars as pl

    return (
        pl.when(pl.col(column).is_infinite())
        .then(pl.lit("∞"))
        .otherwise(pl.col(column).round().cast(pl.String).str.replace(r"\.0$", ""))
    )


def _error_figure(table: pl.DataFrame, key: str, caption: str, spell: Any) -> str:
    """Rows of dots of the error of moving points, one row for each value of a column, with its number of points."""
    import polars as pl

    moving = table.filter(pl.col("motion") == "dynamic")
    rows = moving.filter(pl.col("prediction") == "model").select(key, "points").rows()
    if not rows:
        return ""
    values = {(p, k): e for p, k, e in moving.select("prediction", key, "error_m").rows()}
    series = {PREDICTIONS[p]: [_dot(values.get((p, row))) for row, _ in rows] for p in _COMPARED}
    names = [str(spell(row)) for row, _ in rows]
    chart = dot_chart(f"{caption}, metres, for {', '.join(series)}", "mean end-point error, m", names, series)
    cells = [
        [name, f"{points:,}", *_cells(series, i)] for i, (name, (_, points)) in enumerate(zip(names, rows, strict=True))
    ]
    return figure(legend(list(series)) + chart, caption, numbers([key, "points", *series], cells))


def _dot(value: float | None) -> Dot | None:
    return None if value is None else Dot(value)


def _cells(series: Mapping[str, Sequence[Dot | None]], row: int) -> list[str]:
    return ["–" if (dot := values[row]) is None else f"{dot.value:.3f}" for values in series.values()]


def speed_figure(table: pl.DataFrame) -> str:
    """Error in metres of foreground points by their true speed."""
    import polars as pl

    wanted = table.filter((pl.col("region") == "all") & (pl.col("class") != "background"))
    bins = (pl.col("from_m") / _SPEED_STEP + 1e-6).floor().cast(pl.Int64).clip(0, round(_SPEED_END / _SPEED_STEP))
    sums = (
        wanted.with_columns(bins.alias("bin"))
        .group_by("prediction", "bin")
        .agg(
            pl.col("points").sum(),
            (pl.col("points") * pl.col("error_m")).sum().alias("error"),
            (pl.col("points") * pl.col("speed_m")).sum().alias("speed"),
        )
        .sort("bin")
    )
    series: dict[str, list[tuple[float, float]]] = {}
    for name in _COMPARED:
        rows = sums.filter(pl.col("prediction") == name).select("speed", "error", "points").rows()
        series[PREDICTIONS[name]] = [(speed / points, error / points) for speed, error, points in rows]
    if not series["model"]:
        return ""
    chart = line_chart(
        "Error of points of objects by their true motion, metres",
        "true motion, m a pair",
        "mean end-point error, m",
        series,
    )
    cells = [
        [f"{x:.2f}", *(f"{line[i][1]:.3f}" for line in series.values())] for i, (x, _) in enumerate(series["model"])
    ]
    return figure(
        legend(list(series)) + chart,
        "Error of points of objects by their speed; 1 m a pair is 10 m/s at ten sweeps a second",
        numbers(["motion, m", *series], cells),
    )


def curve_figures(folder: Path) -> str:
    """Loss over the epochs and its terms, from the files that training left; empty where there are none."""
    loss = {
        "training pairs": _curve(folder / "train/loss.tsv", "loss"),
        "held out": _curve(folder / "held/loss.tsv", "loss"),
    }
    names = ("chamfer", "dynamic", "static", "cluster")
    terms = {name: _curve(folder / f"train/{name}.tsv", name) for name in names}
    figures = []
    for title, unit, lines in (
        ("Loss over the epochs", "loss", loss),
        ("Unweighted terms of the loss, training pairs", "term", terms),
    ):
        lines = {name: line for name, line in lines.items() if line}
        if lines:
            chart = line_chart(f"{title}: {', '.join(lines)}", "epoch", unit, lines)
            cells = [
                [f"{x:g}", *(f"{line[i][1]:.4f}" if i < len(line) else "–" for line in lines.values())]
                for i, (x, _) in enumerate(next(iter(lines.values())))
            ]
            figures.append(figure(legend(list(lines)) + chart, title, numbers(["epoch", *lines], cells)))
    return "".join(figures)


def _curve(path: Path, name: str) -> list[tuple[float, float]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [(float(row["step"]), float(row[name])) for row in csv.DictReader(file, delimiter="\t")]
