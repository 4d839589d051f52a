# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Values as colours on a dark canvas: flow on the field's usual wheel, errors by brightness, labels by hue."""

import colorsys

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]  # (N, 3) red, green, blue from 0 to 1

CANVAS = (0.063, 0.078, 0.102)
GROUND = (0.165, 0.188, 0.227)
STILL = 0.42  # grey of what does not move: seen on the canvas, but behind every moving point
_HUES = 256
# Grey, red, orange, pale yellow: brightness rises all the way, so that nobody needs the hue.
_ERROR_STOPS = np.array([[0.30, 0.32, 0.36], [0.72, 0.22, 0.25], [0.98, 0.55, 0.15], [1.0, 0.95, 0.65]])
# Okabe and Ito's colours for the colour-blind, those that show on a dark canvas.
_SKY, _ORANGE, _GREEN = (0.34, 0.71, 0.91), (0.90, 0.62, 0.0), (0.0, 0.62, 0.45)
_PALETTE = np.array([_SKY, _ORANGE, _GREEN, (0.94, 0.89, 0.26), (0.84, 0.37, 0.0), (0.80, 0.47, 0.65)])
_LOOSE = (0.93, 0.93, 0.93)  # dynamic, but in no cluster
AGREEMENT = np.array([(STILL,) * 3, _SKY, _ORANGE, (0.91, 0.45, 0.74)])  # rows: `agreement`


def _wheel() -> Colours:
    return np.array([colorsys.hsv_to_rgb(i / _HUES, 1.0, 0.92) for i in range(_HUES)])


def flow_colours(flow: NDArray[np.floating], full: float, still: float = 0.78) -> Colours:
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
    colours: Colours = share * colour + (1 - share) * still
    return colours


def error_colours(error: NDArray[np.floating], full: float) -> Colours:
    """Colours (N, 3) of end-point errors (N,), m: grey at 0, then the brighter the greater, up to `full`."""
    place = np.clip(error / full, 0.0, 1.0) * (len(_ERROR_STOPS) - 1)
    at = np.arange(len(_ERROR_STOPS))
    return np.stack([np.interp(place, at, _ERROR_STOPS[:, channel]) for channel in range(3)], axis=1)


def label_colours(labels: NDArray[np.integer]) -> Colours:
    """Colours (N, 3) of fused labels (N,): 0 static, 1 dynamic without cluster, from 2 on a colour each, repeating."""
    colours = _PALETTE[(labels.astype(np.int64) - 2) % len(_PALETTE)]
    colours[labels == 0] = STILL
    colours[labels == 1] = _LOOSE
    return colours


def agreement(labelled: NDArray[np.bool_], moving: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of `AGREEMENT` (N,): 0 both say still, 1 both say moving, 2 missed, 3 false alarm."""
    return np.where(moving, np.where(labelled, 1, 2), np.where(labelled, 3, 0))
