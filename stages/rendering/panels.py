# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The pictures of one pair that belong beside each other, each with its title and its description."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.rendering.birdseye import Scale, agreement_picture, error_picture, flow_picture, label_picture
from stages.rendering.canvas import View, strip
from stages.rendering.scene import Pair

if TYPE_CHECKING:
    from PIL import Image

_QUALITY = 80  # of WebP: no difference is seen beside PNG, at a third of the size


@dataclass(frozen=True)
class Panel:
    """A picture with its title and a sentence for those who do not see it."""

    title: str
    alt: str
    picture: Image.Image


def flow_panels(pair: Pair, names: Sequence[str], view: View, scale: Scale, wheel: bool = True) -> list[Panel]:
    """Truth where there is some, each prediction, and its error beside it.

    Args:
        pair: what is shown.
        names: predictions, in order; those that the pair lacks are left out.
        view: what is shown of it.
        scale: what the colours mean.
        wheel: whether the first picture carries the colour wheel.
    """
    panels: list[Panel] = []
    seen = f"points of a sweep from above, {2 * view.reach:g} m wide"
    if pair.truth is not None:
        alt = f"True flow of {seen}; {int(pair.moving.sum()):,} points move, in {len(pair.outlines)} boxes."
        panels.append(Panel("truth", alt, flow_picture(pair, pair.truth, view, scale, wheel)))
    for name in names:
        if name not in pair.predictions:
            continue
        flow, error = pair.predictions[name], pair.error(name)
        title, of_title = (name, f"error of {name}") if len(names) > 1 else ("prediction", "error")
        picture = flow_picture(pair, flow, view, scale, wheel and not panels)
        panels.append(Panel(title, f"Flow of {seen} by {name}.", picture))
        if error is not None:
            mean = f"{error[pair.moving].mean():.2f} m for moving points" if pair.moving.any() else "nothing moves"
            alt = f"Error of {name} for {seen}: {mean}."
            panels.append(Panel(of_title, alt, error_picture(pair, error, view, scale)))
    return panels


def label_panels(pair: Pair, labels: NDArray[np.integer], view: View) -> list[Panel]:
    """Fused labels (N,) of a sweep: dynamic points, clusters, and agreement with truth where there is some."""
    dynamic, clusters = int((labels > 0).sum()), len(np.unique(labels[labels > 1]))
    panels = [
        Panel("dynamic", f"{dynamic:,} points labelled dynamic.", label_picture(pair, np.minimum(labels, 1), view)),
        Panel("clusters", f"{clusters} clusters of these points, each in a colour.", label_picture(pair, labels, view)),
    ]
    if pair.truth is not None:
        found, moving = (labels > 0) & pair.moving, pair.moving
        alt = f"Of {int(moving.sum()):,} points that move by truth the labels have {int(found.sum()):,}."
        panels.append(Panel("against truth", alt, agreement_picture(pair, labels > 0, view)))
    return panels


def panel_strip(panels: Sequence[Panel]) -> Image.Image:
    """The panels as one picture."""
    return strip([panel.picture for panel in panels], [panel.title for panel in panels])


def encode(picture: Image.Image) -> bytes:
    """A picture as WebP."""
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=_QUALITY, method=4)
    return data.getvalue()


def encode_animation(pictures: Sequence[Image.Image], rate: float, kind: str = "WEBP") -> bytes:
    """Pictures as an endless animation, `rate` a second, as WebP or GIF."""
    data = io.BytesIO()
    options = {"quality": 70, "method": 4} if kind == "WEBP" else {"optimize": False, "disposal": 1}
    pictures[0].save(
        data, kind, save_all=True, append_images=list(pictures[1:]), duration=round(1000 / rate), loop=0, **options
    )
    return data.getvalue()
