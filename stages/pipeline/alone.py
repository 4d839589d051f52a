# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One run of a stage at a time in a working copy: two would put their outputs in each other's place."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stages.pipeline.compute import compute
from stages.pipeline.digest import value_digest
from stages.pipeline.store import Store


@contextlib.contextmanager
def alone(stage: str, split: str | None) -> Iterator[None]:
    """Wait until no other run of this stage and split works in this folder, then be the one that does.

    DVC refuses a second run by its own locks; this is for a stage that was started by hand, or outlived its DVC.
    """
    name = f"{stage} {split}" if split else stage
    store = Store(compute().store / "running")
    key = value_digest([str(Path.cwd()), stage, split])
    with store.claim(key, f"another run of {name} is at work in this folder; waiting until it ends"):
        yield
