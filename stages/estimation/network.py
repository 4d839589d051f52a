# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The network of a weights file, if it can work on two sweeps whose origin is told by its height alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError

if TYPE_CHECKING:
    from models.network import PillarFlow


def load_network(weights: Path) -> PillarFlow:
    """Build the network of a weights file.

    Raises:
        InputError: the file is no good, its network sees more than two sweeps, or its points are the lidar's.
    """
    from models.weights import load_weights

    network, description = load_weights(weights)
    if network.sweeps != 2:
        raise InputError(
            f"weights file {weights} holds a network of {network.sweeps} sweeps, and a pair has two; give weights of "
            "deflow or fastflow3d, or bring the sweeps in as logs (docs/your-data.md) and predict them with "
            "`dvc exp run -S predict.weights=FILE`"
        )
    if description["frame"] != "ego":
        # The published mixture of frames needs all of ego_SE3_lidar: the height of the mount is not enough.
        raise InputError(
            f"weights file {weights} wants points of the lidar's frame, mixed as the published code does, for which "
            "the lidar's whole mount on the vehicle must be known and not its height alone; give weights of the ego "
            "frame, or bring the sweeps in as logs with their mount (docs/your-data.md) and predict them with "
            "`dvc exp run -S predict.weights=FILE`"
        )
    return network
