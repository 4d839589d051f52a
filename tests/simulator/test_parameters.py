# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Senseless parameters are refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stages.simulator.parameters import SimulateParameters, SplitSize
from tests.simulator.conftest import scene_parameters

LIDAR, TRAFFIC = scene_parameters().lidar, scene_parameters().traffic


@pytest.mark.parametrize(
    ("whole", "key", "value"),
    [
        (LIDAR, "azimuth_steps", 4),
        (LIDAR, "range_m", 0.0),
        (LIDAR, "noise_m", -0.1),
        (LIDAR, "dropout", 1.0),
        (LIDAR, "down_phase_deg", 400.0),
        (TRAFFIC, "cars", -1),
        (TRAFFIC, "parked_share", 1.5),
        (TRAFFIC, "missed_share", -0.1),
        (TRAFFIC, "radius_m", 1.0),
        (SplitSize(1, 1), "logs", -1),
        (SplitSize(1, 1), "sweeps", 0),
    ],
)
def test_message_begins_with_the_key(whole, key: str, value: float) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"^{key} "):
        replace(whole, **{key: value})


def test_split_sizes_by_name() -> None:
    sizes = SplitSize(1, 2), SplitSize(3, 4), SplitSize(5, 6)
    parameters = SimulateParameters(0, *sizes, scene_parameters())
    assert parameters.split("val") == SplitSize(3, 4)
    with pytest.raises(ValueError, match="^split "):
        parameters.split("all")
    with pytest.raises(ValueError, match="^seed "):
        replace(parameters, seed=-1)
