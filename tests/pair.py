# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The real pair without ground that kernels and training are tested on and timed by."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def stored_pair() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two consecutive sweeps, (N, 3) m each, from pair_88k.npz in AV2_ROOT; FileNotFoundError where it is not there."""
    file = Path(os.environ.get("AV2_ROOT", "")) / "pair_88k.npz"
    if not file.is_file():
        raise FileNotFoundError("AV2_ROOT is not set to a folder that holds pair_88k.npz")
    with np.load(file) as arrays:
        return arrays["pc0"].astype(np.float32), arrays["pc1"].astype(np.float32)
