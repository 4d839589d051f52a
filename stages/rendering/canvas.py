# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Points, lines and text from above on a square canvas: x to the right, y up, the ego vehicle in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.rendering.colours import CANVAS, Colours

if TYPE_CHECKING:
    from PIL import Image, ImageFont

_OVERSAMPLED = 2  # drawn at twice the size and averaged, so that edges are smooth
_DOTS = 320  # a point's square is the picture's side over this, so that it is seen at any size
_GAP = 6  # pixels between pictures
_BETWEEN = (62, 68, 80)


@dataclass(frozen=True)
class View:
    """What a canvas shows.

    Attributes:
        reach: half of the side of the square, m.
        pixels: side of the picture.
        centre: middle of the square, m in the ego frame.
    """

    reach: float
    pixels: int
    centre: tuple[float, float] = (0.0, 0.0)

    def places(self, points: NDArray[np.floating], scale: int = 1) -> NDArray[np.float64]:
        """Column and row (N, 2) of points (N, 2) or (N, 3) in metres, in pixels of a picture `scale` times as large."""
        metre = scale * self.pixels / (2 * self.reach)
        x, y = (points[:, axis].astype(np.float64) - self.centre[axis] for axis in (0, 1))
        return np.stack([(x + self.reach) * metre, (self.reach - y) * metre], axis=1)


def draw_points(view: View, points: NDArray[np.floating], colours: Colours, rank: NDArray[np.floating]) -> Image.Image:
    """A picture of points.

    Args:
        view: what is shown; points outside are left out.
        points: ego frame, m  # (N, 3)
        colours: red, green, blue from 0 to 1  # (N, 3)
        rank: points of a higher rank cover those of a lower one  # (N,)
    """
    from PIL import Image

    side = view.pixels * _OVERSAMPLED
    canvas = np.empty((side * side, 3), dtype=np.uint8)
    canvas[:] = _bytes(np.array(CANVAS))
    place = view.places(points, _OVERSAMPLED)
    inside = np.flatnonzero(((place >= 0) & (place < side)).all(axis=1))
    inside = inside[np.argsort(rank[inside], kind="stable")]
    width = max(_OVERSAMPLED, round(view.pixels / _DOTS * _OVERSAMPLED))
    corner = np.floor(place[inside] - width / 2 + 0.5).astype(np.int64)  # of the square around the point
    columns = np.clip(corner[:, :1] + np.tile(np.arange(width), width), 0, side - 1)
    rows = np.clip(corner[:, 1:] + np.repeat(np.arange(width), width), 0, side - 1)
    canvas[(rows * side + columns).ravel()] = np.repeat(_bytes(colours[inside]), width * width, axis=0)
    return Image.fromarray(canvas.reshape(side, side, 3)).reduce(_OVERSAMPLED)


def _background() -> tuple[int, ...]:
    return tuple(_bytes(np.array(CANVAS)).tolist())


def _bytes(colours: Colours) -> NDArray[np.uint8]:
    return np.round(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def draw_outlines(picture: Image.Image, view: View, outlines: Sequence[NDArray[np.float64]]) -> None:
    """Draw paths (K, 2), metres, as thin pale lines onto a picture."""
    from PIL import Image, ImageDraw

    layer = Image.new("L", (view.pixels * _OVERSAMPLED,) * 2, 0)
    draw = ImageDraw.Draw(layer)
    for outline in outlines:
        draw.line([(float(c), float(r)) for c, r in view.places(outline, _OVERSAMPLED)], fill=140, width=_OVERSAMPLED)
    picture.paste((225, 230, 238), mask=layer.reduce(_OVERSAMPLED))


def write_text(picture: Image.Image, text: str) -> None:
    """Write a title into the upper left corner."""
    from PIL import ImageDraw

    size = max(12, picture.width // 28)
    draw, place = ImageDraw.Draw(picture), (size // 2, size // 3)
    left, top, right, bottom = draw.textbbox(place, text, font=_font(size))
    draw.rectangle((left - 3, top - 3, right + 3, bottom + 3), fill=_background())  # points must not cross the letters
    draw.text(place, text, fill=(235, 238, 243), font=_font(size))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)  # ships with Pillow: the same letters everywhere


def strip(pictures: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Pictures of one size beside each other, each under its title."""
    return grid([list(zip(pictures, titles, strict=True))])


def grid(rows: Sequence[Sequence[tuple[Image.Image, str] | None]]) -> Image.Image:
    """Pictures of one size with their titles in rows; None leaves a place empty."""
    from PIL import Image

    width, height = next(cell[0].size for row in rows for cell in row if cell is not None)
    columns = max(len(row) for row in rows)
    size = (columns * (width + _GAP) - _GAP, len(rows) * (height + _GAP) - _GAP)
    whole = Image.new("RGB", size, _BETWEEN)
    empty = Image.new("RGB", (width, height), _background())
    for down, row in enumerate(rows):
        for across, cell in enumerate(row):
            titled = (empty if cell is None else cell[0]).copy()
            if cell is not None:
                write_text(titled, cell[1])
            whole.paste(titled, (across * (width + _GAP), down * (height + _GAP)))
    return whole
