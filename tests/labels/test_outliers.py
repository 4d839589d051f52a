# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import polars as pl
import pytest

from stages.labels.outliers import outliers
from stages.labels.quality import Counts, QualityParameters, count_table
from stages.quality import main


def test_odd_logs_by_hand() -> None:
    table = {
        "log_id": ["still", "third", "usual", "empty", "one"],
        "points": [900, 900, 900, 0, 900],
        "dynamic": [0, 300, 299, 0, 1],
    }
    assert outliers(table) == {
        "still": "has no dynamic point at all",
        "third": "has 33% of its points dynamic",
        "empty": "has no dynamic point at all",
    }


def test_the_stage_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The stage on the counts of two logs, given to it instead of computed."""

    def publish(*arguments: object, outputs: dict[str, Path], finish, **options: object) -> None:
        outputs["quality"].mkdir(parents=True)
        for log, dynamic in (("a", 0), ("b", 10)):
            row = count_table([log], [Counts(frames=1, points=100, dynamic=dynamic)])
            row.write_parquet(outputs["quality"] / f"{log}.parquet")
        finish(outputs)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stages.quality.map_logs", publish)
    monkeypatch.setattr("stages.quality.split_tasks", lambda *arguments: [])
    main("train", QualityParameters(moving_speed=0.5, purity=0.9))
    assert capsys.readouterr().err == ("warning: log a has no dynamic point at all; look at it before training on it\n")
    assert pl.read_parquet("data/quality/train/logs.parquet")["log_id"].to_list() == ["a", "b"]
