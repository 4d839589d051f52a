# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where points are drawn, and what covers what."""

import numpy as np
import pytest

from stages.rendering.canvas import View, draw_outlines, draw_points, grid, strip
from stages.rendering.colours import CANVAS

VIEW = View(reach=50.0, pixels=100)  # a pixel is a metre
RED, GREEN = [1.0, 0, 0], [0, 1.0, 0]


def lit(points: list[list[float]], colours: list[list[float]], rank: list[float], view: View = VIEW) -> np.ndarray:
    picture = draw_points(view, np.array(points).reshape(-1, 3), np.array(colours).reshape(-1, 3), np.array(rank))
    return np.asarray(picture).astype(int)  # (rows, columns, 3)


def test_the_right_pixel() -> None:
    """At x 10.5, y 20.5 lies the middle of column 60 and row 29: 50 + 10 from the left, 50 - 21 from the top."""
    image = lit([[10.5, 20.5, 3.0]], [RED], [0.0])
    rows, columns = np.nonzero(image[..., 0] > 40)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (60, 60, 29, 29)
    assert image[29, 60].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("point", "place"),
    [((-49.5, 49.5), (0, 0)), ((49.5, -49.5), (99, 99)), ((49.5, 49.5), (0, 99)), ((-49.5, -49.5), (99, 0))],
)
def test_corners_x_to_the_right_and_y_up(point: tuple[float, float], place: tuple[int, int]) -> None:
    image = lit([[*point, 0.0]], [GREEN], [0.0])
    assert np.argwhere(image[..., 1] > 100).tolist() == [list(place)]


def test_the_centre_may_lie_anywhere() -> None:
    image = lit([[10.5, 20.5, 0.0]], [RED], [0.0], View(50.0, 100, centre=(10.0, 20.0)))
    assert np.argwhere(image[..., 0] > 100).tolist() == [[49, 50]]


def test_the_higher_rank_covers_whatever_the_order() -> None:
    for order in ([0, 1], [1, 0]):
        colours = [[RED, GREEN][i] for i in order]
        assert lit([[0.5, 0.5, 0]] * 2, colours, [float(i) for i in order])[49, 50].tolist() == [0, 255, 0]


def test_points_outside_are_left_out() -> None:
    image = lit([[50.0, 0, 0], [0, -50.01, 0], [-51, 0, 0], [1e9, 0, 0]], [RED] * 4, [0.0] * 4)
    assert np.unique(image.reshape(-1, 3), axis=0).tolist() == [np.round(np.array(CANVAS) * 255).tolist()]


def test_no_points() -> None:
    assert lit([], [], []).shape == (100, 100, 3)


def test_an_outline() -> None:
    picture = draw_points(VIEW, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    draw_outlines(picture, VIEW, [np.array([[-20.0, 10.2], [20.0, 10.2]])])
    bright = np.argwhere(np.asarray(picture)[..., 0] > 60)
    assert set(bright[:, 0].tolist()) <= {39, 40}
    assert (bright[:, 1].min(), bright[:, 1].max()) == (pytest.approx(30, abs=1), pytest.approx(70, abs=1))


def test_sizes_of_strips_and_grids() -> None:
    picture = draw_points(VIEW, np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    assert strip([picture] * 3, ["a", "b", "c"]).size == (312, 100)
    assert grid([[(picture, "a"), (picture, "b")], [None, (picture, "c")]]).size == (206, 206)
