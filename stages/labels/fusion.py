# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a label means, and SeFlow++'s fusion: clusters of the whole cloud that two witnesses call dynamic.

One witness is free space (the stage dynamic), the other the distance of a point to the next sweep after ego motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogFrames
from models.geometry import inverse_SE3, transform_points

STATIC = 0
UNCLUSTERED = 1  # dynamic, but no part of a cluster
FIRST_CLUSTER = 2


@dataclass(frozen=True)
class VoteParameters:
    """What makes a cluster dynamic.

    Attributes:
        near: a point jumped if it is at least this far from the next sweep, metres.
        far: and nearer than this, metres; what is farther is seen by one sweep alone.
        least_share: each witness must call more than this share of the cluster's points dynamic.
        most_share: and one of them more than this.
    """

    near: float
    far: float
    least_share: float
    most_share: float

    def __post_init__(self) -> None:
        if not 0 <= self.near < self.far:
            raise ValueError(f"near must be at least 0 and below far, not {self.near} and {self.far} m")
        for name in ("least_share", "most_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, not {getattr(self, name)}")


def jumping(frames: LogFrames, frame: int, votes: VoteParameters) -> NDArray[np.bool_]:
    """Points of a sweep that have no neighbour where they would be if they stood still  # (N,).

    They are looked for in the next sweep, ground included; at the end of a log and before a gap in the one before.
    """
    if frames.pair_next[frame]:
        other = frame + 1
    elif frame > 0 and frames.pair_next[frame - 1]:
        other = frame - 1
    else:
        return np.zeros(len(frames.xyz(frame)), dtype=np.bool_)
    import torch

    from kernels.search import nearest

    other_SE3_ego = inverse_SE3(frames.city_SE3_ego[other]) @ frames.city_SE3_ego[frame]
    query = torch.from_numpy(transform_points(other_SE3_ego, frames.xyz(frame)).astype(np.float32))
    target = torch.from_numpy(frames.xyz(other).astype(np.float32))
    offsets = [torch.tensor([0, len(cloud)]) for cloud in (query, target)]
    found = nearest(query, target, offsets[0], offsets[1], cap=votes.far)
    distance = found.squared_distance.numpy().astype(np.float64) ** 0.5
    return np.asarray((distance >= votes.near) & (distance < votes.far))


def voted_labels(
    clusters: NDArray[np.integer], free: NDArray[np.bool_], jumped: NDArray[np.bool_], votes: VoteParameters
) -> NDArray[np.int16]:
    """Labels of the points of a sweep off the ground.

    Args:
        clusters: number of each point's cluster, -1 outside  # (K,)
        free: points in space that was seen free  # (K,)
        jumped: points without a neighbour in the next sweep  # (K,)
        votes: the shares.

    Returns:
        0 static, 2 and up the dynamic clusters, the whole of each  # (K,)
    """
    number = clusters.astype(np.int64) + 1  # 0 outside
    size = np.maximum(np.bincount(number, minlength=1), 1)
    shares = [np.bincount(number, weights=witness, minlength=len(size)) / size for witness in (free, jumped)]
    dynamic = (np.minimum(*shares) > votes.least_share) & (np.maximum(*shares) > votes.most_share)
    dynamic[0] = False
    return np.where(dynamic[number], number - 1 + FIRST_CLUSTER, STATIC).astype(np.int16)
