# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Everything with a box: where it is at a time, and the solids that it shows to a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.simulator.bodies import Body
from stages.simulator.solids import Solids
from stages.simulator.trajectories import STEP
from stages.simulator.world import Ground

STRIDE = 1.5  # m that a person covers in two steps
ALWAYS = (-np.inf, np.inf)


@dataclass(frozen=True)
class Actor:
    """A body and its motion."""

    body: Body
    motion: NDArray[np.float64]  # (K, 4) x, y m, heading rad, metres travelled; or (1, 4) for what never moves
    alive: tuple[float, float] = ALWAYS  # s; it exists between the two


@dataclass(frozen=True)
class State:
    """Actors at one time."""

    centre: NDArray[np.float64]  # (A, 3) middle of the box, m
    rotation: NDArray[np.float64]  # (A, 3, 3) local from box
    travelled: NDArray[np.float64]  # (A,) m


class Actors:
    """A table of actors on common times."""

    def __init__(self, actors: Sequence[Actor], ground: Ground, times: NDArray[np.float64]) -> None:
        self.bodies = [a.body for a in actors]
        self.size = np.array([a.body.size for a in actors], dtype=np.float64).reshape(-1, 3)  # (A, 3) m
        self._motion = (
            np.stack([np.broadcast_to(a.motion, (len(times), 4)) for a in actors])
            if actors
            else np.empty((0, len(times), 4))
        )
        self._alive = np.array([a.alive for a in actors], dtype=np.float64).reshape(-1, 2)
        self._tilts = np.array([a.body.tilts for a in actors], dtype=bool)
        self._ground = ground
        self._begin = float(times[0])
        parts = [(row, part) for row, body in enumerate(self.bodies) for part in body.parts]
        self._owner = np.array([row for row, _ in parts], dtype=np.int32)
        self._kind = np.array([p.kind for _, p in parts], dtype=np.uint8)
        self._centre = np.array([p.centre for _, p in parts], dtype=np.float64).reshape(-1, 3)
        self._half = np.array([p.half for _, p in parts], dtype=np.float64).reshape(-1, 3)
        self._swing = np.array([p.swing for _, p in parts], dtype=np.float64)
        self._reflectance = np.array([self.bodies[row].reflectance for row, _ in parts], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.bodies)

    def alive(self, time: float) -> NDArray[np.bool_]:
        """Which actors exist at a time in s, (A,)."""
        return (self._alive[:, 0] <= time) & (time < self._alive[:, 1])

    def state(self, time: float) -> State:
        """Where all actors are at a time in s."""
        at = (time - self._begin) / STEP
        row = int(np.clip(np.floor(at), 0, self._motion.shape[1] - 2))
        m = self._motion[:, row] + (at - row) * (self._motion[:, row + 1] - self._motion[:, row])  # (A, 4)
        rotation = standing(self._ground, m[:, 0], m[:, 1], m[:, 2], self._tilts)
        foot = np.stack([m[:, 0], m[:, 1], self._ground.height(m[:, 0], m[:, 1])], axis=1)
        return State(foot + rotation[:, :, 2] * self.size[:, 2:] / 2, rotation, m[:, 3])

    def solids(self, time: float, span: float) -> Solids:
        """Parts of the living actors from `time` to `time + span`, both in s, moving evenly in between."""
        now, then = self.state(time), self.state(time + span)
        centre, later = self._places(now), self._places(then)
        turn = _heading(then.rotation) - _heading(now.rotation)
        yaw_rate = ((turn + np.pi) % (2 * np.pi) - np.pi) / span
        table = Solids(
            kind=self._kind,
            centre=centre,
            rotation=now.rotation[self._owner],
            half=self._half,
            velocity=(later - centre) / span,
            yaw_rate=yaw_rate[self._owner],
            owner=self._owner,
            reflectance=self._reflectance,
        )
        return table.take(self.alive(time)[self._owner])

    def _places(self, state: State) -> NDArray[np.float64]:
        offset = self._centre.copy()
        offset[:, 0] += self._swing * np.sin(state.travelled[self._owner] * (2 * np.pi / STRIDE))
        turned: NDArray[np.float64] = np.einsum("sij,sj->si", state.rotation[self._owner], offset)
        return state.centre[self._owner] + turned


def _heading(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])


def standing(
    ground: Ground,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    heading: NDArray[np.float64],
    tilts: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Rotations (A, 3, 3), local from body, of bodies with a heading (rad) that stand on the slope or upright."""
    gx, gy = ground.gradient(x, y)
    gx, gy = np.where(tilts, gx, 0.0), np.where(tilts, gy, 0.0)
    c, s = np.cos(heading), np.sin(heading)
    forward = np.stack([c, s, gx * c + gy * s], axis=1)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    up = np.stack([-gx, -gy, np.ones_like(gx)], axis=1)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    return np.stack([forward, np.cross(up, forward), up], axis=2)
