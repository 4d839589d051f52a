# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ego motion from one sweep to the next: from poses, by registration, or none."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.geometry import inverse_SE3
from stages.estimation.cloud import Cloud
from stages.estimation.registration import Fit, Scene, register, source_points

Float64 = NDArray[np.float64]
Source = Literal["poses", "registration", "compensated"]

_TELLING = 0.05  # m, from which on a point's two distances differ
_FEWEST, _SHARE = 30, 0.01  # points, and of the points, that must tell the difference
_CLEARLY = 0.6  # of the distance that these have left


@dataclass(frozen=True)
class Motion:
    """A motion and how well it lays the first sweep on the second.

    Attributes:
        ego1_SE3_ego0: (4, 4), in the frame of the points.
        source: where it is from.
        fit: how well the still scene fits.
    """

    ego1_SE3_ego0: Float64
    source: Source
    fit: Fit

    @property
    def travel(self) -> Float64:
        """How far the vehicle went, m, in its axes before  # (3,)."""
        travel: Float64 = inverse_SE3(self.ego1_SE3_ego0)[:3, 3]
        return travel

    @property
    def turn_deg(self) -> float:
        """How far it turned, degrees."""
        return turn_deg(self.ego1_SE3_ego0)


def turn_deg(motion: Float64) -> float:
    """Angle of the rotation of a motion (4, 4), degrees."""
    sine = np.linalg.norm(motion[:3, :3] - motion[:3, :3].T) / np.sqrt(8)
    return float(np.degrees(np.arctan2(sine, (np.trace(motion[:3, :3]) - 1) / 2)))


class Overlay:
    """A pair of sweeps to be laid on each other.

    Ground points take part: they alone hold height, pitch and roll, and their upright planes hold nothing else.
    """

    def __init__(self, cloud0: Cloud, cloud1: Cloud) -> None:
        self._points = source_points(cloud0.xyz[cloud0.valid])
        self._scene = Scene(cloud1.xyz[cloud1.valid])
        self._measured: dict[bytes, Float64] = {}

    def fit(self, ego1_SE3_ego0: Float64) -> Fit:
        """How well a motion fits."""
        return self._scene.fit(self._points, ego1_SE3_ego0)

    def judged(self, ego1_SE3_ego0: Float64, source: Source) -> Motion:
        """A given motion with its fit."""
        return Motion(ego1_SE3_ego0, source, self.fit(ego1_SE3_ego0))

    def prefers(self, other: Float64, motion: Float64) -> bool:
        """Whether another motion lays the sweeps on each other clearly better than a given one.

        Only points that tell the two apart are asked: along a street most walls fit wherever the vehicle is.
        """
        there, here = self._distances(other), self._distances(motion)
        telling = np.abs(there - here) > _TELLING
        enough = telling.sum() >= max(_FEWEST, _SHARE * len(telling))
        return bool(enough and there[telling].mean() < _CLEARLY * here[telling].mean())

    def _distances(self, motion: Float64) -> Float64:
        """Of the points after a motion; measured once, for the checks compare a few motions again and again."""
        key = motion.tobytes()
        if key not in self._measured:
            self._measured[key] = self._scene.distances(self._points, motion)
        return self._measured[key]

    def registered(self, before: Float64 | None = None) -> Motion:
        """The motion by registration; the one of the pair before is tried too, for a drive goes on much as it was."""
        motions = [register(self._points, self._scene)]
        if before is not None:
            motions.append(register(self._points, self._scene, before))
        return min((self.judged(motion, "registration") for motion in motions), key=lambda motion: motion.fit.cost)

    def corrected(self, motion: Motion) -> Motion:
        """The motion that registration makes of a given one."""
        near = register(self._points, self._scene, motion.ego1_SE3_ego0, reaches=(2.0, 1.0, 0.5, 0.25))
        return self.judged(near, "registration")
