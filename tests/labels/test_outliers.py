# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from stages.labels.outliers import outliers
from stages.quality import tell


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


def test_the_stage_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    tell(outliers({"log_id": ["a", "b"], "points": [100, 100], "dynamic": [0, 10]}))
    assert capsys.readouterr().err == "warning: log a has no dynamic point at all; look at it before training on it\n"
