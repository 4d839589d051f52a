# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What the simulator can be told: section `simulate` of the parameters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitSize:
    """How much data a split has."""

    logs: int  # logs in the split; 0 is an empty split
    sweeps: int  # sweeps a log, at about 10 Hz

    def __post_init__(self) -> None:
        if self.logs < 0:
            raise ValueError(f"logs must be 0 or more, got {self.logs}")
        if self.sweeps < 1:
            raise ValueError(f"sweeps must be 1 or more, got {self.sweeps}")


@dataclass(frozen=True)
class LidarParameters:
    """The two stacked 32-beam lidars; mounts and beam angles are Argoverse 2's and fixed."""

    azimuth_steps: int  # firings of each beam a revolution; Argoverse 2 has about 1800
    range_m: float  # longest range that returns, m
    noise_m: float  # standard deviation of the range, m; cut at twice that
    dropout: float  # share of near returns that is lost, 0..1; far and dark surfaces lose more
    down_phase_deg: float  # how far the down lidar lags behind the up lidar, degrees; Argoverse 2 has about 180

    def __post_init__(self) -> None:
        if not 16 <= self.azimuth_steps <= 2500:
            raise ValueError(f"azimuth_steps must lie in 16..2500, got {self.azimuth_steps}")
        if not 5.0 <= self.range_m <= 300.0:
            raise ValueError(f"range_m must lie in 5..300 m, got {self.range_m}")
        if not 0.0 <= self.noise_m <= 0.2:
            raise ValueError(f"noise_m must lie in 0..0.2 m, got {self.noise_m}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in 0..1, 1 excluded, got {self.dropout}")
        if not -360.0 <= self.down_phase_deg <= 360.0:
            raise ValueError(f"down_phase_deg must lie in -360..360 degrees, got {self.down_phase_deg}")


@dataclass(frozen=True)
class TrafficParameters:
    """Who is on the street around the ego car, for each four seconds of the log."""

    cars: int  # moving cars
    trucks: int  # moving trucks and buses
    pedestrians: int  # walking and running pedestrians
    cyclists: int  # riders of bicycles, motorcycles and scooters
    standing: int  # pedestrians that stand
    parked_share: float  # share of the parking places that is taken, 0..1
    radius_m: float  # the moving ones pass within this distance of the ego car, m
    vanish_share: float  # share of the moving ones that appear late or vanish early, 0..1
    missed_share: float  # share of boxes that is missing from the annotations, 0..1

    def __post_init__(self) -> None:
        for name in ("cars", "trucks", "pedestrians", "cyclists", "standing"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("parked_share", "vanish_share", "missed_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")
        if not 5.0 <= self.radius_m <= 150.0:
            raise ValueError(f"radius_m must lie in 5..150 m, got {self.radius_m}")


@dataclass(frozen=True)
class SceneParameters:
    """All that decides a log beside its seed and its number of sweeps."""

    lidar: LidarParameters
    traffic: TrafficParameters


@dataclass(frozen=True)
class SimulateParameters:
    """Section `simulate`."""

    seed: int  # every log's own seed follows from this one, its split and its place in the split
    train: SplitSize
    val: SplitSize
    test: SplitSize  # logs of this split have no annotations, as in Argoverse 2
    scene: SceneParameters

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")

    def split(self, name: str) -> SplitSize:
        """Size of the split called `name`."""
        sizes = {"train": self.train, "val": self.val, "test": self.test}
        if name not in sizes:
            raise ValueError(f"split must be one of {sorted(sizes)}, got {name!r}")
        return sizes[name]
