# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Bird's-eye pictures of a pair: flow, its error and labels on the same points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.rendering.canvas import View, draw_outlines, draw_points
from stages.rendering.colours import (
    AGREEMENT,
    CANVAS,
    GROUND,
    STILL,
    Colours,
    agreement,
    error_colours,
    flow_colours,
    label_colours,
)
from stages.rendering.scene import Pair

if TYPE_CHECKING:
    from PIL import Image

FULL_SPEED = 1.0  # m a pair: 10 m/s at 10 Hz
_RING = 0.06  # width of the dark gap between wheel and picture, shares of its radius


@dataclass(frozen=True)
class Scale:
    """What the colours mean.

    Attributes:
        full_speed: speed from which on the colour of flow is full, m/s.
        full_error: error from which on its colour is brightest, m.
    """

    full_speed: float
    full_error: float


def flow_picture(pair: Pair, flow: NDArray[np.floating], view: View, scale: Scale, wheel: bool = False) -> Image.Image:
    """Points in the colours of a flow (N, 3), m a pair, and boxes of moving objects; with a colour wheel if wanted."""
    full = scale.full_speed * pair.seconds
    picture = _points(pair, view, flow_colours(flow, full, STILL), np.hypot(flow[:, 0], flow[:, 1]) / full)
    if wheel:
        side = view.pixels // 6
        place = (view.pixels - side - side // 8, side // 8)
        picture.paste(colour_wheel(side), place, mask=_disc(side))
    return picture


def error_picture(pair: Pair, error: NDArray[np.floating], view: View, scale: Scale) -> Image.Image:
    """Points in the colours of their error (N,), m, with the boxes of moving objects."""
    return _points(pair, view, error_colours(error, scale.full_error), error / scale.full_error)


def label_picture(pair: Pair, labels: NDArray[np.integer], view: View) -> Image.Image:
    """Points in the colours of their fused labels (N,)."""
    return _points(pair, view, label_colours(labels), (labels > 0).astype(np.float64))


def agreement_picture(pair: Pair, labelled: NDArray[np.bool_], view: View) -> Image.Image:
    """Points by whether label (N,) and truth agree that they move; where truth is not valid they count as still."""
    kind = agreement(labelled & pair.valid & ~pair.ground, pair.moving)
    return _points(pair, view, AGREEMENT[kind], kind.astype(np.float64))


def _points(pair: Pair, view: View, colours: Colours, rank: NDArray[np.floating]) -> Image.Image:
    """Ground below all else, then what ranks higher, so that a car is not hidden by a tree."""
    colours = np.where(pair.ground[:, None], GROUND, colours)
    order = np.where(pair.ground, -1.0, np.clip(rank, 0.0, None))
    picture = draw_points(view, pair.points, colours, order)
    draw_outlines(picture, view, pair.outlines)
    return picture


def colour_wheel(side: int) -> Image.Image:
    """The colour of a point that moves that way: still in the middle, at full speed on the rim."""
    from PIL import Image

    line = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(line, -line)
    colours = flow_colours(np.stack([x.ravel(), y.ravel()], axis=1), 1 - _RING, STILL)
    colours[np.hypot(x, y).ravel() > 1 - _RING] = CANVAS
    return Image.fromarray(np.round(colours.reshape(side, side, 3) * 255).astype(np.uint8))


def _disc(side: int) -> Image.Image:
    from PIL import Image, ImageDraw

    mask = Image.new("L", (side * 4, side * 4), 0)
    ImageDraw.Draw(mask).ellipse((0, 0, side * 4 - 1, side * 4 - 1), fill=255)
    return mask.reduce(4)
