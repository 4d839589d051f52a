# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Charts of the report: error by class, distance and speed, and the curves of training."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.evaluation.find import find
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


def interval_figures(report: Mapping[str, Any]) -> str:
    """Headline numbers with their intervals: normalised Dynamic error by class, and the three-way error."""
    dynamic = _interval_figure(
        report,
        ("bucketed", "dynamic"),
        CLASSES,
        _COMPARED[:2],
        "Dynamic error by class",
        "normalised error",
        "ego motion",
    )
    return dynamic + _interval_figure(
        report, ("threeway",), _THREEWAY, _COMPARED, "Three-way error", "mean end-point error, m", ""
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
    """Error in metres of the points of objects by their true motion."""
    series = {PREDICTIONS[name]: line for name in _COMPARED if (line := _by_speed(table, name))}
    if PREDICTIONS["model"] not in series:
        return ""
    title = "Error of points of objects by their true motion, metres"
    chart = line_chart(title, "true motion, m a pair", "mean end-point error, m", series)
    lines = zip(*series.values(), strict=True)  # truth, and with it the bins, is the same for all
    cells = [[f"{points[0][0]:.2f}", *(f"{error:.3f}" for _, error in points)] for points in lines]
    return figure(
        legend(list(series)) + chart,
        "Error of points of objects by their speed; 1 m a pair is 10 m/s at ten sweeps a second",
        numbers(["motion, m", *series], cells),
    )


def _by_speed(table: pl.DataFrame, name: str) -> list[tuple[float, float]]:
    """Mean true motion and mean error of a prediction in each bin of speed that has points, background left out."""
    import polars as pl

    chosen = (pl.col("prediction") == name) & (pl.col("region") == "all") & (pl.col("class") != "background")
    bins: dict[int, list[tuple[float, float, float]]] = {}
    for low, points, error, speed in table.filter(chosen).select("from_m", "points", "error_m", "speed_m").rows():
        place = min(int(low / _SPEED_STEP + 1e-6), round(_SPEED_END / _SPEED_STEP))
        bins.setdefault(place, []).append((points, points * speed, points * error))
    sums = [[math.fsum(column) for column in zip(*bins[place], strict=True)] for place in sorted(bins)]
    return [(motion / points, error / points) for points, motion, error in sums]


def curve_figures(folder: Path) -> str:
    """Loss over the epochs and its terms, from the files that training left; empty where there are none."""
    names = ("chamfer", "dynamic", "static", "cluster")
    loss = {
        "training pairs": _curve(folder / "train/loss.tsv", "loss"),
        "held out": _curve(folder / "held/loss.tsv", "loss"),
    }
    terms = {name: _curve(folder / f"train/{name}.tsv", name) for name in names}
    return _curve_figure("Loss over the epochs", "loss", loss) + _curve_figure(
        "Unweighted terms of the loss, training pairs", "term", terms
    )


def _curve_figure(title: str, unit: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    lines = {name: line for name, line in curves.items() if line}
    if not lines:
        return ""
    chart = line_chart(f"{title}: {', '.join(lines)}", "epoch", unit, lines)
    values = {name: dict(line) for name, line in lines.items()}
    epochs = sorted({epoch for line in values.values() for epoch in line})
    cells = [[f"{t:g}", *(f"{line[t]:.4f}" if t in line else "–" for line in values.values())] for t in epochs]
    return figure(legend(list(lines)) + chart, title, numbers(["epoch", *lines], cells))


def _curve(path: Path, name: str) -> list[tuple[float, float]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [(float(row["step"]), float(row[name])) for row in csv.DictReader(file, delimiter="\t")]
