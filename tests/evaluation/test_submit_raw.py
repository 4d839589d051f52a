# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Archives of test splits that were ingested from raw logs: the real pair, and simulated logs with a gap."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.data.logfile import LogFrames
from stages.evaluation.submission import SubmitParameters
from stages.evaluation.submit import submit_split
from stages.frames.write import write_columns
from tests.evaluation.official import AV2_LOG, real_log
from tests.evaluation.raw import prepare, simulate

PARAMETERS = SubmitParameters(("v1", "v2", "v3"), supervised=True, mask_zip=None)


@pytest.fixture(params=["real", "simulated"])
def project(request: Any, tmp_path: Path, monkeypatch: Any) -> Path:
    if request.param == "real":
        raw = real_log(AV2_LOG, "test") / "sensor" / "test"
    else:
        raw = tmp_path / "raw"
        first, _ = simulate(raw, "test", sweeps=9)
        sorted((raw / first / "sensors" / "lidar").iterdir())[3].unlink()  # a sweep that the sensor lost
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    for log in prepare(raw, tmp_path / "data", "test"):
        predict(tmp_path / "data", log)
    return tmp_path


def predict(data: Path, log: str) -> None:
    frames = LogFrames.open(data / "frames" / "test" / f"{log}.h5")
    residual = np.random.default_rng(0).normal(0, 0.1, (frames.num_points, 3)).astype(np.float32)
    columns = {
        "residual": residual,
        "covered": np.ones(len(residual), dtype=bool),
        "has_flow": frames.pair_next,
    }
    attributes = {"log_id": log, "frames_digest": frames.digest, "weights_digest": "ab" * 32}
    write_columns(data / "predictions" / "test" / f"{log}.h5", "predictions/1", columns, attributes)


def test_archives_are_accepted_repeatable_and_name_the_right_frames(project: Path) -> None:
    archives = submit_split("test", PARAMETERS)  # av2's validator and the public rules run inside
    first = [path.read_bytes() for path in archives]
    assert [path.read_bytes() for path in submit_split("test", PARAMETERS)] == first
    logs = {path.stem: LogFrames.open(path) for path in sorted((project / "data" / "frames" / "test").glob("*.h5"))}
    pairs = [(log, t) for log, frames in logs.items() for t in range(frames.num_frames - 1)]
    with zipfile.ZipFile(archives[0]) as v1:
        assert v1.namelist() == [f"{log}/{logs[log].timestamp_ns[t]}.feather" for log, t in pairs[::5]]
    with zipfile.ZipFile(archives[1]) as v2:
        files = [name for name in v2.namelist() if name.endswith("feather")]
        assert files == [f"{log}/{t:010d}.feather" for log, t in pairs if t % 5 == 0]
    with zipfile.ZipFile(archives[2]) as v3:
        assert v3.namelist() == [f"{log}/{logs[log].timestamp_ns[t]}.feather" for log, t in pairs if t % 5 == 0]
    gaps = sum(int((~frames.pair_next[:-1]).sum()) for frames in logs.values())
    assert gaps == (1 if len(logs) == 2 else 0)
