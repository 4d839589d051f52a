# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The stage: one folder a log, the same bytes for any number of workers, nothing for other data."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InputError
from stages import simulate
from stages.pipeline.source import DataParameters
from stages.simulator.log import log_id
from stages.simulator.parameters import SimulateParameters, SplitSize
from tests.simulator.conftest import scene_parameters
from tests.simulator.test_log import digests

PARAMETERS = SimulateParameters(3, SplitSize(0, 1), SplitSize(2, 2), SplitSize(1, 1), scene_parameters(steps=60))


def run(root: Path, monkeypatch: pytest.MonkeyPatch, split: str, source: str, workers: int) -> Path:
    root.mkdir(exist_ok=True)
    monkeypatch.chdir(root)
    monkeypatch.setenv("SCENEFLOW_STORE", str(root / "store"))
    monkeypatch.setenv("SCENEFLOW_WORKERS", str(workers))
    simulate.main(split, PARAMETERS, DataParameters(source))  # type: ignore[arg-type]
    return root / "data" / "raw" / split


def test_same_bytes_for_any_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = run(tmp_path / "alone", monkeypatch, "val", "simulated", 1)
    both = run(tmp_path / "both", monkeypatch, "val", "simulated", 2)
    assert sorted(p.name for p in alone.iterdir()) == sorted(log_id(3, "val", k) for k in range(2))
    assert digests(alone) == digests(both)
    assert len(digests(alone)) == 2 * (2 + 2 + 2 + 3)  # sweeps, tables, calibration, map


@pytest.mark.parametrize(("split", "source"), [("val", "av2"), ("train", "simulated")])
def test_nothing_to_simulate_gives_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, source: str
) -> None:
    (tmp_path / "av2/sensor/val").mkdir(parents=True)
    monkeypatch.setenv("AV2_ROOT", str(tmp_path / "av2"))
    folder = run(tmp_path, monkeypatch, split, source, 1)
    assert folder.is_dir() and not list(folder.iterdir())


def test_real_data_without_a_root_is_told_by_the_first_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AV2_ROOT", raising=False)
    with pytest.raises(InputError, match="AV2_ROOT"):
        run(tmp_path, monkeypatch, "val", "av2", 1)
    assert not (tmp_path / "data").exists()
