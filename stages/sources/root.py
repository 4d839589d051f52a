# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where the raw logs lie on this machine."""

from pathlib import Path

from models.errors import InputError
from stages.av2.layout import dataset_folder
from stages.pipeline.compute import compute


def raw_root(source: str) -> Path:
    """Folder of the raw data: what an adapter's `logs` is given.

    Raises:
        InputError: if the machine names no root for this source, or the root is no such root.
    """
    if source == "simulated":
        return Path("data/raw")
    if source == "av2":
        root = compute().av2_root
        if root is None:
            raise InputError(
                "data.source is av2 but no root is named; set AV2_ROOT or av2_root in compute.yaml to the folder that "
                "holds sensor/<split>/<log>"
            )
        return dataset_folder(root)
    root = compute().data_root
    if root is None:
        raise InputError(
            f"data.source is {source} but no root is named; set SCENEFLOW_DATA_ROOT or data_root in compute.yaml to "
            "the folder of the raw data"
        )
    if not root.is_dir():
        raise InputError(f"the data root {root} is not a folder; set SCENEFLOW_DATA_ROOT or data_root in compute.yaml")
    return root
