# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""All that the report shows, gathered before the page is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.rendering.panels import Panel
from stages.rendering.parameters import RenderParameters
from stages.rendering.statistics import FrameStatistics


@dataclass(frozen=True)
class Shown:
    """A frame with its pictures."""

    frame: FrameStatistics
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Animated:
    """The animated log: the file (WebP), its size in pixels, a still of it, and what it shows."""

    data: bytes
    size: tuple[int, int]
    still: bytes
    text: str


@dataclass(frozen=True)
class Labels:
    """Labels of a training sweep, and which one that is; no pictures where there are no labels."""

    panels: Sequence[Panel]
    text: str


@dataclass(frozen=True)
class Contents:
    """What the page shows; what does not exist is empty or None.

    Attributes:
        split: name of the scored split.
        parameters: knobs of the report.
        metrics: content of the split's metric file.
        quality: content of the metric file of labels.
        tables: folder of the evaluation's tables.
        curves: folder of the training curves.
        logs: number of logs.
        annotated: number of those with truth.
        pairs: number of pairs of sweeps with a prediction.
        frames: frames shown in full.
        worst: frames with the greatest error.
        animated: the animated log.
        labels: labels of a training sweep.
    """

    split: str
    parameters: RenderParameters
    metrics: Mapping[str, Any]
    quality: Mapping[str, Any]
    tables: Path
    curves: Path
    logs: int
    annotated: int
    pairs: int
    frames: Sequence[Shown]
    worst: Sequence[Shown]
    animated: Animated | None
    labels: Labels
