# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Flow as colour: hue is the direction, saturation the speed, on the field's usual wheel."""

import colorsys

import numpy as np
from numpy.typing import NDArray

_HUES = 256
_WRONG = np.array([0.75, 0.0, 0.1])  # dark red: seen by the colour-blind as dark


def _wheel() -> NDArray[np.float64]:
    return np.array([colorsys.hsv_to_rgb(i / _HUES, 1.0, 0.92) for i in range(_HUES)])


def flow_colours(flow: NDArray[np.floating], full: float, still: float = 0.78) -> NDArray[np.float64]:
    """Colours of flow vectors.

    Args:
        flow: residual flow (N, 2) or (N, 3), metres a pair; z does not count.
        full: length at which the colour is fully saturated, m.
        still: grey of a point that does not move, from 0 black to 1 white.

    Returns:
        (N, 3) red, green, blue from 0 to 1; red along +x, and on counter-clockwise.
    """
    hue = np.arctan2(flow[:, 1], flow[:, 0]) / (2 * np.pi) % 1.0
    colour = _wheel()[np.floor(hue * _HUES).astype(int) % _HUES]
    share = np.clip(np.hypot(flow[:, 0], flow[:, 1]) / full, 0.0, 1.0)[:, None]
    colours: NDArray[np.float64] = share * colour + (1 - share) * still
    return colours


def error_colours(error: NDArray[np.floating], full: float, none: float = 0.78) -> NDArray[np.float64]:
    """Colours (N, 3) of end-point errors (N,), metres: grey `none` at 0, dark red from `full` on."""
    share = np.clip(error / full, 0.0, 1.0)[:, None]
    colours: NDArray[np.float64] = share * _WRONG + (1 - share) * none
    return colours
