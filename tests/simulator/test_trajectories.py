# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Paths and speeds with answers by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.simulator.occupancy import GAP, Occupancy
from stages.simulator.trajectories import Path, Speed, fillet, follow, time_table


def test_quarter_circle_to_the_left() -> None:
    path = Path((1.0, 2.0, 0.0), ((np.pi / 2 * 4.0, 0.25),))
    places = path.sample(np.array([-1.0, 0.0, 2 * np.pi, 2 * np.pi + 3.0]))
    np.testing.assert_allclose(places[:, :2], [[0, 2], [1, 2], [5, 6], [5, 9]], atol=1e-12)
    np.testing.assert_allclose(places[:, 2], [0, 0, np.pi / 2, np.pi / 2])


def test_fillet_ends_on_the_second_line() -> None:
    path = fillet((0.0, -1.0, 0.0), (10.0, 0.0, -np.pi / 2), 3.0)
    assert path.start[:2] == pytest.approx((7.0, -1.0))
    end = path.sample(np.array([100.0]))[0]
    assert end[0] == pytest.approx(10.0) and end[2] == pytest.approx(-np.pi / 2)


def test_fillet_of_parallel_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="parallel"):
        fillet((0.0, 0.0, 0.0), (0.0, 5.0, np.pi), 3.0)


def test_braking_car_stops_and_stays() -> None:
    times = time_table(3.0)
    motion = follow(Path((0.0, 0.0, 0.0)), Speed(4.0, -2.0, 0.0, 10.0), times, anchor=0.0)
    assert np.interp(1.0, times, motion[:, 0]) == pytest.approx(3.0, abs=1e-3)
    assert np.interp([2.0, 3.0], times, motion[:, 0]) == pytest.approx([4.0, 4.0], abs=1e-3)


def test_occupancy_refuses_what_would_meet() -> None:
    times = time_table(2.0)
    east = follow(Path((0.0, 0.0, 0.0)), Speed(5.0), times, 0.0)
    crossing = follow(Path((5.0, -5.0, np.pi / 2)), Speed(5.0), times, 0.0)
    late = follow(Path((5.0, -5.0, np.pi / 2)), Speed(5.0), times, 2.0)
    occupancy = Occupancy(len(times))
    occupancy.add(east, 4.0, 2.0)
    assert not occupancy.fits(crossing, 4.0, 2.0)
    assert occupancy.fits(late, 4.0, 2.0)
    beside = np.array([[5.0, 2.0 * np.sqrt(2.0) + GAP + 0.01, 0.0, 0.0]])
    assert occupancy.fits(beside, 2.0, 2.0)
    assert not occupancy.fits(beside - [0.0, 0.1, 0.0, 0.0], 2.0, 2.0)
