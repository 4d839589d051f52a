# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The sections of the page, each a list of its pieces."""

import shlex
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from stages.rendering.birdseye import colour_wheel
from stages.rendering.charts import class_figure, curve_figures, distance_figure, interval_figures, speed_figure
from stages.rendering.colours import AGREEMENT, error_colours
from stages.rendering.contents import Contents
from stages.rendering.html import command, definitions, figure, image, paragraph
from stages.rendering.panels import Panel, encode
from stages.rendering.statistics import FrameStatistics
from stages.rendering.tables import headline, interval_text, tiles

_STOPS = np.linspace(0.0, 1.0, 7)  # of the bar of the error's colours
_WHEEL = 72  # pixels


def numbers(contents: Contents) -> list[str]:
    """The headline: four numbers, the table beside the baselines, and how sure they are."""
    whole = headline(contents.metrics)
    if not whole:
        return [paragraph("Nothing was scored: the split has no log with annotations.")]
    note = (
        f"{interval_text(contents.metrics)} Dynamic is Argoverse's normalised error: a prediction of ego motion alone "
        "has 1, a perfect one 0. All else is end-point error in metres a pair of sweeps. Lower is better, but for the "
        "IoU."
    )
    charts = _charts(interval_figures(contents.metrics))
    return [tiles(contents.metrics), whole, paragraph(note.strip(), "note after"), charts]


def _charts(charts: str) -> str:
    return f'<div class="charts">{charts}</div>' if charts else ""


def pictures(contents: Contents) -> list[str]:
    """The animated log and the frames with the most traffic."""
    if not contents.pairs:
        return [paragraph("There is no pair of sweeps to show.")]
    if not contents.frames and contents.animated is None:
        return [paragraph("No pictures were asked for: `render.frames` and `render.animation.frames` are 0.")]
    pieces = [_key(contents)]
    if contents.animated is not None:
        moving = contents.animated
        pieces.append(figure(image(moving.data, moving.size, moving.text, moving.still), moving.text, kind="motion"))
    for shown in contents.frames:
        pieces += [_heading(shown.frame), paragraph(_facts(shown.frame), "note"), _panels(shown.panels)]
    if not contents.frames:
        return pieces
    text = (
        "These are the frames with the most moving points, so that two experiments show the same ones. Outlines are "
        "annotated boxes that move, with a tick at their front. The pictures are also under `report/pictures`: "
        "`dvc plots diff` shows those of two revisions."
    )
    return [*pieces, paragraph(text, "note")]


def _key(contents: Contents) -> str:
    """What the colours mean."""
    p = contents.parameters
    alt = "Colour wheel: red to the right, yellow-green up, cyan to the left, violet down."
    wheel = image(encode(colour_wheel(_WHEEL)), (_WHEEL, _WHEEL), alt)
    stops = ", ".join(_rgb(row) for row in error_colours(_STOPS, 1.0))
    return (
        f'<div class="colours"><div>{wheel}<span>Flow less ego motion: hue is the direction on the wheel, saturation '
        f"the speed, full from {p.full_speed:g} m/s on. The vehicle looks to the right.</span></div>"
        f'<div><span>Error: 0</span><span class="ramp" style="background:linear-gradient(90deg,{stops})"></span>'
        f"<span>{p.full_error:g} m and more</span></div></div>"
    )


def _rgb(colour: Any) -> str:
    return f"rgb({', '.join(str(round(float(c) * 255)) for c in colour)})"


def _heading(frame: FrameStatistics) -> str:
    return f"<h3>Log {escape(frame.log_id)}, frame {frame.frame}</h3>"


def _facts(frame: FrameStatistics) -> str:
    if frame.moving is None:
        return f"{frame.points:,} points off the ground, {frame.moving_predicted:,} predicted to move; no truth."
    text = f"{frame.points:,} points off the ground, {frame.moving:,} of them move"
    if frame.speed is not None and frame.error_moving is not None:
        text += f" at {frame.speed:.1f} m/s on average; mean error {frame.error_moving:.3f} m"
    if frame.error_still is not None:
        text += f", of the still ones {frame.error_still:.3f} m"
    return f"{text}."


def _panels(panels: Sequence[Panel], kind: str = "panels") -> str:
    figures = [figure(image(encode(p.picture), p.picture.size, p.alt), p.title, kind="panel") for p in panels]
    return f'<div class="{kind}">{"".join(figures)}</div>'


def errors(contents: Contents) -> list[str]:
    """Error by distance, speed and category."""
    import polars as pl

    drawn = ""
    for name, draw in (("distances", distance_figure), ("speeds", speed_figure), ("classes", class_figure)):
        path = contents.tables / f"{name}.parquet"
        drawn += draw(pl.read_parquet(path)) if path.is_file() else ""
    return [_charts(drawn) or paragraph("Nothing was scored.")]


def worst(contents: Contents) -> list[str]:
    """The frames with the greatest error and how to open them."""
    if not contents.worst:
        least = contents.parameters.least_moving
        return [paragraph(f"No frame has truth and at least {least} moving points.")]
    cards = []
    for shown in contents.worst:
        log = shlex.quote(shown.frame.log_id)
        line = f"python -m stages.view --split {contents.split} --log {log} --frame {shown.frame.frame}"
        pieces = [_panels(shown.panels, "pair"), _heading(shown.frame), paragraph(_facts(shown.frame)), command(line)]
        cards.append(f'<div class="card">{"".join(pieces)}</div>')
    text = (
        "By mean error of the moving points off the ground; the pictures show where most of it is. Each command writes "
        "`view.rrd`, which `rerun view.rrd` opens; with `--png FILE` it writes a picture and needs no window."
    )
    return [paragraph(text, "note"), f'<div class="cards">{"".join(cards)}</div>']


_QUALITY = {
    "dynamic_share": "of all points are labelled dynamic",
    "clustered_share": "of these are in a cluster",
    "pure_clusters": "of the clusters belong to one object",
    "precision": "of the points labelled dynamic move by truth",
    "recall": "of the points that move are labelled dynamic",
    "recall_clustered": "of the points that move are in a cluster",
}


def labels(contents: Contents) -> list[str]:
    """Statistics of the labels of the training split, and one of its sweeps."""
    known = [(contents.quality[key], text) for key, text in _QUALITY.items() if key in contents.quality]
    tile = '<div class="tile"><b><data value="{!r}">{:.1%}</data></b><span>{}</span></div>'
    found = "".join(tile.format(value, value, escape(text)) for value, text in known)
    shares = f'<div class="tiles wide">{found}</div>' if found else ""
    if not contents.labels.panels:
        return [shares, paragraph("The training split has no clusters to show.")]
    meaning = ((1, "labelled and moving"), (2, "missed"), (3, "false alarm"), (0, "still"))
    swatch = '<span><span class="swatch" style="background:{}"></span>{}</span>'
    key = "".join(swatch.format(_rgb(AGREEMENT[row]), text) for row, text in meaning)
    return [
        paragraph(
            "Found without annotations in the training split; self-supervised training learns from them.", "note"
        ),
        shares,
        f"<h3>{escape(contents.labels.text)}</h3>",
        _panels(contents.labels.panels),
        f'<p class="legend">Against truth: {key}</p>' if len(contents.labels.panels) > 2 else "",
    ]


def training(contents: Contents) -> list[str]:
    """The curves."""
    return [_charts(curve_figures(contents.curves)) or paragraph("Training left no curves.")]


def origin(contents: Contents) -> list[str]:
    """Protocol, provenance, and where to ask for more."""
    parts = []
    for name, title in (("protocol", "Protocol"), ("provenance", "Provenance")):
        if contents.metrics.get(name):
            parts.append(f'<h3>{title}</h3><div class="card">{definitions(contents.metrics[name])}</div>')
    text = (
        "Only scores of the same protocol are compared. Which data, parameters and code made each stage: "
        "`python -m stages.explain`. How long a stage takes depends on the machine, so it is no part of this page."
    )
    return [*parts, paragraph(text, "note after")]
