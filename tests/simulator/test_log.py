# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Same seed, same bytes; another seed, split or place, another log."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from stages.simulator.log import log_id
from tests.simulator.conftest import SEED, write_log


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_same_seed_gives_the_same_bytes(val_log: Path, tmp_path: Path) -> None:
    assert digests(write_log(tmp_path, "val", 1)) == digests(val_log)


def test_another_seed_gives_other_bytes(val_log: Path, tmp_path: Path) -> None:
    other = digests(write_log(tmp_path, "val", 1, seed=SEED + 1, sweeps=1))
    assert not set(other.values()) & set(digests(val_log).values()) - calibration(val_log)


def calibration(folder: Path) -> set[str]:
    """Both lidars are mounted the same way in every log."""
    return {digest for name, digest in digests(folder).items() if name.startswith("calibration/")}


def test_log_ids_are_uuids_and_differ() -> None:
    names = [log_id(seed, split, k) for seed in (0, 1) for split in ("train", "val", "test") for k in range(20)]
    assert len(set(names)) == len(names)
    assert all(str(uuid.UUID(name)) == name for name in names)
    assert log_id(0, "train", 0) == names[0]
