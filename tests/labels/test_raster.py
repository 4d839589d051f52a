# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from stages.labels.raster import GroundRaster, height_above, raster_ground


def raster(height: list[list[float]], **changes: object) -> GroundRaster:
    fields = {"array_R_city": np.eye(2), "array_t_city": np.zeros(2), "array_s_city": 1.0, **changes}
    return GroundRaster(np.array(height, dtype=np.float16), **fields)


FLAT = raster([[0.0, 10.0], [20.0, np.nan]])  # rows are y, columns are x


@pytest.mark.parametrize(
    ("x", "y", "truncated", "rounded"),
    [
        (0.0, 0.0, 0.0, 0.0),
        (0.9, 0.0, 0.0, 10.0),  # nearest cell is the next one
        (0.5, 0.0, 0.0, 0.0),  # a half goes to the even cell
        (1.5, 0.0, 10.0, np.nan),  # and here the even cell, 2, is outside
        (0.0, 1.4, 20.0, 20.0),
        (-0.4, 0.0, 0.0, 0.0),
        (-0.6, 0.0, 0.0, np.nan),  # truncation goes toward zero: cell 0, not cell -1
        (-1.0, 0.0, np.nan, np.nan),
        (0.0, -0.9, 0.0, np.nan),
        (1.0, 1.0, np.nan, np.nan),  # no height known
        (1.999, 0.0, 10.0, np.nan),
        (2.0, 0.0, np.nan, np.nan),
        (1e12, -1e12, np.nan, np.nan),
    ],
)
def test_cell_of_a_point(x: float, y: float, truncated: float, rounded: float) -> None:
    points = np.array([[x, y, 0.0]])
    np.testing.assert_array_equal(height_above(FLAT, points, rounded=False), [0.0 - truncated])
    np.testing.assert_array_equal(height_above(FLAT, points, rounded=True), [0.0 - rounded])


def test_bands_include_their_edge_and_all_that_lies_below() -> None:
    heights = np.array([-50.0, 0.0, 0.3, 0.3000001, 0.4, 0.4000001])
    points = np.stack([np.zeros(6), np.zeros(6), heights], axis=1)
    v1, v2 = raster_ground(FLAT, points)
    assert v1.tolist() == [True, True, True, False, False, False]
    assert v2.tolist() == [True, True, True, True, True, False]


def test_outside_and_unknown_are_not_ground() -> None:
    v1, v2 = raster_ground(FLAT, np.array([[5.0, 0.0, -9.0], [1.0, 1.0, -9.0]]))
    assert not v1.any() and not v2.any()


def test_city_to_array_turns_then_shifts_then_scales() -> None:
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = raster(
        [[0.0] * 3, [0.0, 0.0, 7.0]], array_R_city=quarter, array_t_city=np.array([1.0, 0.0]), array_s_city=2.0
    )
    # (0.6, 0) turns to (0, 0.6), shifts to (1, 0.6), scales to (2, 1.2): column 2, row 1.
    np.testing.assert_allclose(height_above(turned, np.array([[0.6, 0.0, 7.25]]), rounded=False), [0.25])


def test_kilometres_from_the_origin_nothing_is_rounded_away() -> None:
    far = raster([[0.0]], array_t_city=np.array([-4000.0, -4000.0]), array_s_city=1 / 0.3)
    points = np.array([[4000.2, 4000.2, 0.3], [4000.2, 4000.2, 0.3 + 1e-9], [4000.2999, 4000.0, 0.0]])
    v1, _ = raster_ground(far, points)
    assert v1.tolist() == [True, False, True]
