# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs of a log's function: a path, or None where the log has nothing of that kind."""

from collections.abc import Mapping
from pathlib import Path

from models.errors import InputError


def required(inputs: Mapping[str, Path | None], kind: str, log_id: str) -> Path:
    """The path of an input that every log must have; InputError names log and kind if it is absent."""
    path = inputs[kind]
    if path is None:
        raise InputError(f"log {log_id} has no {kind} file: run `dvc repro`, which makes it first.")
    return path
