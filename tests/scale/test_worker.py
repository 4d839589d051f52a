# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A worker holds no more after fifty logs than after ten."""

import json
from pathlib import Path

import pytest

from stages.pipeline.logs import LogTask, map_logs
from tests.pipeline.raw_logs import TIMES, sweep_table, write_feather, write_log
from tests.scale import flat

LOGS = 50


def test_memory_and_files_of_a_worker_are_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every function from raw log to clusters, on logs of four sweeps of 2,000 points, in one process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    raw = write_log(tmp_path, "train")
    for i, time in enumerate(TIMES):
        write_feather(raw / f"sensors/lidar/{time}.feather", sweep_table(2000, seed=i))
    (tmp_path / "work").mkdir()
    tasks = [LogTask(f"{index:02}", {}, pinned={"raw": raw}) for index in range(LOGS)]
    parameters = flat.Parameters(str(tmp_path / "work"))
    map_logs("flat", flat.worker_log, tasks, parameters, {"held": Path("held")}, {"held": ".json"}, workers=1)
    held = [json.loads((Path("held") / f"{index:02}.json").read_text()) for index in range(LOGS)]
    assert len({one["pid"] for one in held}) == 1
    assert held[-1]["files"] == held[9]["files"]
    # One log's own arrays are 0.4 MiB: what a log left behind would be 16 MiB after forty more.
    assert held[-1]["mib"] - held[9]["mib"] < 8
