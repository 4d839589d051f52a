# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Colours of flow: direction by hue, speed by saturation."""

import numpy as np

from stages.rendering.colours import flow_colours


def test_direction_is_hue_and_speed_is_saturation() -> None:
    red, still, half, opposite = flow_colours(np.array([[2.0, 0], [0, 0], [0.5, 0], [-2.0, 0]]), full=1.0)
    np.testing.assert_allclose(red, [0.92, 0, 0], atol=1e-9)
    np.testing.assert_allclose(still, [0.78] * 3)
    np.testing.assert_allclose(half, (red + still) / 2)
    np.testing.assert_allclose(opposite, [0, 0.92, 0.92], atol=1e-9)  # cyan, the complement of red


def test_z_does_not_count() -> None:
    flow = np.array([[0.3, 0.4, 0.0], [0.3, 0.4, 9.0]])
    first, second = flow_colours(flow, full=1.0)
    assert first.tolist() == second.tolist()
