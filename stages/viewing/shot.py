# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What is looked at: pairs of one log with some predictions, drawn one way."""

from dataclasses import dataclass

from stages.rendering.birdseye import Scale
from stages.rendering.canvas import View
from stages.rendering.scene import LogScene


@dataclass(frozen=True)
class Shot:
    """Pairs of a log.

    Attributes:
        scene: the log.
        frames: first sweeps of the pairs.
        names: predictions, in order.
        view: what pictures show.
        scale: what colours mean.
        rate: pairs a second of films.
    """

    scene: LogScene
    frames: list[int]
    names: tuple[str, ...]
    view: View
    scale: Scale
    rate: float
