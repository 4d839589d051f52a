# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The folders that a stage reads: an empty one is a split without logs, one that is not there a step left out."""

from collections.abc import Iterable
from pathlib import Path

from models.errors import InputError


def require_folders(data: Path, split: str, kinds: Iterable[str]) -> None:
    """Check that the folders `<data>/<kind>/<split>` are there, as DVC does before it runs a stage.

    Args:
        data: folder of the artifacts.
        split: `train`, `val` or `test`.
        kinds: folders below it: `frames`, `ground`, `truth`…

    Raises:
        InputError: naming the first that is not there, before anything is written in its place.
    """
    for folder in (data / kind / split for kind in kinds):
        if not folder.is_dir():
            raise InputError(f"{folder} is not there: run `dvc repro`, or `dvc pull` to fetch it")
