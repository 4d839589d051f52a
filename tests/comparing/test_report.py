# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The table of methods: a row each, baselines once, never two protocols side by side."""

from typing import Any

import pytest
import yaml

from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.comparing.methods import METHODS
from stages.comparing.report import comparison
from stages.pipeline.code import ROOT
from stages.pipeline.parameters import from_mapping


def content(mean: float, frames: str = "all") -> dict[str, Any]:
    def scores(value: float) -> dict[str, Any]:
        bucketed = {"dynamic": {"mean": value, "car": value}, "static": {"mean": value / 4}}
        return {"bucketed": bucketed, "threeway": {"mean": value / 10}}

    return {
        "protocol": {"frames": frames, "logs": 5, "truth": "official"},
        "model": scores(mean),
        "nearest": scores(0.75),
        "ego_motion": scores(1.0),
        "intervals": {
            "level": 0.95, "resamples": 10, "unit": "logs", "units": 5,
            "model": {"bucketed": {"dynamic": {"mean": [mean - 0.1, mean + 0.1]}, "static": {"mean": [0.0, mean]}}},
        },
    }  # fmt: skip


def test_rows_by_hand() -> None:
    lines = comparison([(METHODS[0], content(0.5)), (METHODS[1], content(0.25))]).splitlines()
    assert lines[2].startswith("| method | labels | mean Dynamic | mean Static, m | car |")
    assert lines[4:8] == [
        "| SeFlow | none | 0.500 (0.400–0.600) | 0.125 (0.000–0.500) | 0.500 | – | – | – | 0.050 | – |",
        "| DeFlow | boxes | 0.250 (0.150–0.350) | 0.062 (0.000–0.250) | 0.250 | – | – | – | 0.025 | – |",
        "| nearest neighbour | none | 0.750 | 0.188 | 0.750 | – | – | – | 0.075 | – |",
        "| ego motion | none | 1.000 | 0.250 | 1.000 | – | – | – | 0.100 | – |",
    ]
    assert "5 logs, frames: all" in lines[9] and "95% interval of 10 resamples of 5 logs" in lines[9]
    assert lines[11] == "Each method is `params.yaml` with"
    assert lines[13:] == [
        "- SeFlow: `train.labels=clusters`, `train.loss=seflow`, `train.model.kind=deflow`",
        "- DeFlow: `train.labels=truth`, `train.loss=deflow`, `train.deflow.still=0.1`, `train.deflow.slow=0.1`, "
        "`train.model.kind=deflow`",
    ]


def test_methods_scored_differently_are_refused() -> None:
    with pytest.raises(InputError, match=r"SeFlow and DeFlow cannot be compared: protocol.frames: 'all' against 'off"):
        comparison([(METHODS[0], content(0.5)), (METHODS[1], content(0.4, frames="official"))])


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.slug)
def test_the_changes_of_a_method_fit_the_parameters(method: Any) -> None:
    """A changed name or a loss that does not fit its labels would be found only when the experiment runs."""
    section = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, value in method.changes.items():
        *path, key = name.split(".")
        part = section
        for step in path:
            part = part[step]
        assert key in part
        part[key] = value
    from_mapping("train", TrainParameters, section["train"])
