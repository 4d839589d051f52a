# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Unfinished trainings in the store: what each is, and whether one was the training at hand on other devices."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKPOINT = "last.ckpt"
_ABOUT = "about.json"
_MACHINE = ("device", "compiled")  # what may change from machine to machine with nothing else


def checkpoint_of(store: Path, key: str) -> Path:
    """Where the training `key` keeps its state after each epoch."""
    return store / f"{key}.checkpoint" / CHECKPOINT


def tell_of_others(checkpoint: Path, history: Mapping[str, Any]) -> None:
    """Note what this training is beside its checkpoint, and say so if it begins where another one could go on.

    Args:
        checkpoint: of this training, whether it exists or not.
        history: everything that determines its weights.
    """
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    (checkpoint.parent / _ABOUT).write_text(json.dumps(history))
    if checkpoint.exists():
        sys.stderr.write("train: goes on from its last checkpoint\n")
        return
    for other in sorted(checkpoint.parent.parent.glob(f"*.checkpoint/{CHECKPOINT}")):
        machine = _machine_alone_differs(other.parent / _ABOUT, history)
        if machine:
            sys.stderr.write(
                f"note: this training was begun on {machine} and goes on there alone; on {_machine(history)} it begins"
                " anew (both stay in the store)\n"
            )


def _machine_alone_differs(about: Path, history: Mapping[str, Any]) -> str:
    """The device of another training that differs from this one in nothing else, else nothing."""
    try:
        other = json.loads(about.read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # of a version that wrote none, or cut
        return ""
    this = json.loads(json.dumps(history))  # tuples as lists, as they come back
    same = all(this.get(name) == other.get(name) for name in {*this, *other}.difference(_MACHINE))
    return _machine(other) if same else ""


def _machine(history: Mapping[str, Any]) -> str:
    return f"{history['device']}{', compiled' if history.get('compiled') else ''}"
