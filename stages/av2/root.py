# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where the raw logs of a split lie on this machine."""

from pathlib import Path

from models.errors import InputError
from stages.av2.layout import logs_folder
from stages.pipeline.compute import compute, project_root


def raw_folder(source: str, split: str) -> Path | None:
    """Folder of the raw logs of a split, or None if the source has no such split.

    A relative root is one of the project.

    Raises:
        InputError: if the source is `av2` and the machine names no root, or the root is no AV2 root.
    """
    if source == "simulated":
        return Path("data/raw") / split
    root = compute().av2_root
    if root is None:
        raise InputError(
            "data.source is av2 but no root is named; set AV2_ROOT or av2_root in compute.yaml to the folder that "
            "holds sensor/<split>/<log>"
        )
    return logs_folder(project_root() / root, split)  # an experiment's workspace lies elsewhere
