# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Knobs of the report."""

from dataclasses import dataclass

MOST_PIXELS = 2000


@dataclass(frozen=True)
class AnimationParameters:
    """The animated log.

    Attributes:
        frames: most pairs that are shown; 0 leaves the animation out.
        pixels: side of each of its pictures.
        rate: pairs a second.
    """

    frames: int
    pixels: int
    rate: float

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ValueError(f"frames must not be negative, but is {self.frames}")
        _check_pixels(self.pixels)
        if not 0 < self.rate <= 50:
            raise ValueError(f"rate must lie above 0 and not above 50 pairs a second, not {self.rate}")


@dataclass(frozen=True)
class RenderParameters:
    """What the report shows and how.

    Attributes:
        frames: frames shown in full, those with the most moving points.
        worst: frames with the greatest error of moving points that are listed.
        least_moving: moving points that a frame needs to be listed there.
        reach: half of the side of the square that a picture shows, m.
        pixels: side of a picture.
        full_speed: speed from which on the colour of flow is full, m/s.
        full_error: error from which on its colour is brightest, m.
        animation: the animated log.
    """

    frames: int
    worst: int
    least_moving: int
    reach: float
    pixels: int
    full_speed: float
    full_error: float
    animation: AnimationParameters

    def __post_init__(self) -> None:
        for name in ("frames", "worst"):
            if not 0 <= getattr(self, name) <= 50:
                raise ValueError(f"{name} must lie between 0 and 50, not {getattr(self, name)}")
        if self.least_moving < 1:
            raise ValueError(f"least_moving must be at least 1, not {self.least_moving}")
        for name in ("reach", "full_speed", "full_error"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        _check_pixels(self.pixels)


def _check_pixels(pixels: int) -> None:
    if not 64 <= pixels <= MOST_PIXELS:
        raise ValueError(f"pixels must lie between 64 and {MOST_PIXELS}, not {pixels}")
