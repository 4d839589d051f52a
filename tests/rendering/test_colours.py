# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Colours: direction by hue, speed by saturation, errors by brightness, labels by hue."""

import numpy as np
import pytest

from stages.rendering.colours import agreement, error_colours, flow_colours, label_colours


def test_direction_is_hue_and_speed_is_saturation() -> None:
    red, still, half, opposite = flow_colours(np.array([[2.0, 0], [0, 0], [0.5, 0], [-2.0, 0]]), full=1.0)
    np.testing.assert_allclose(red, [0.92, 0, 0], atol=1e-9)
    np.testing.assert_allclose(still, [0.78] * 3)
    np.testing.assert_allclose(half, (red + still) / 2)
    np.testing.assert_allclose(opposite, [0, 0.92, 0.92], atol=1e-9)  # cyan, the complement of red


def test_left_is_a_quarter_turn_of_the_hue() -> None:
    left, right = flow_colours(np.array([[0.0, 3.0], [0.0, -3.0]]), full=1.0)
    np.testing.assert_allclose(left, [0.46, 0.92, 0], atol=1e-9)  # hue 90 degrees
    np.testing.assert_allclose(right, [0.46, 0, 0.92], atol=1e-9)  # hue 270 degrees


def test_z_does_not_count() -> None:
    flow = np.array([[0.3, 0.4, 0.0], [0.3, 0.4, 9.0]])
    first, second = flow_colours(flow, full=1.0)
    assert first.tolist() == second.tolist()


def test_a_greater_error_is_brighter_without_any_sense_of_hue() -> None:
    colours = error_colours(np.linspace(0, 0.5, 50), full=0.5)
    luminance = colours @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()
    assert error_colours(np.array([7.0]), 0.5).tolist() == colours[-1:].tolist()


def test_labels_and_their_agreement() -> None:
    colours = label_colours(np.array([0, 1, 2, 3, 8], dtype=np.int16))
    assert len({tuple(colour) for colour in colours[:4].tolist()}) == 4
    assert colours[2].tolist() == colours[4].tolist()  # six colours, then again from the first
    labelled, moving = np.array([False, True, False, True]), np.array([False, True, True, False])
    assert agreement(labelled, moving).tolist() == [0, 1, 2, 3]


def test_no_points_have_no_colours() -> None:
    assert flow_colours(np.zeros((0, 3)), 1.0).shape == (0, 3)
    assert error_colours(np.zeros(0), 1.0).shape == (0, 3)
    assert label_colours(np.zeros(0, dtype=np.int16)).shape == (0, 3)


@pytest.mark.parametrize("angle", np.linspace(0, 2 * np.pi, 9))
def test_every_direction_has_a_colour(angle: float) -> None:
    colour = flow_colours(np.array([[np.cos(angle), np.sin(angle)]]), 1.0)
    assert colour.max() == pytest.approx(0.92, abs=1e-6)
