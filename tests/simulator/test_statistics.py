# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The default val split is hard enough that numbers mean something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.pipeline.parameters import read_parameters
from stages.simulator.log import log_id, simulate_log
from stages.simulator.parameters import SimulateParameters
from tests.simulator.statistics import META, statistics

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def default_val(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    parameters = read_parameters("simulate", SimulateParameters, PARAMS)
    folders = []
    for index in range(parameters.val.logs):
        name = log_id(parameters.seed, "val", index)
        folders.append(tmp_path_factory.mktemp("val") / name)
        arguments = {"seed": parameters.seed, "split": "val", "index": index, "sweeps": parameters.val.sweeps}
        simulate_log(name, {}, {"raw": folders[-1]}, parameters.scene, arguments)
    return folders


def test_default_val_split_is_hard_enough(default_val: list[Path]) -> None:
    assert len(default_val) >= 4
    result = statistics(default_val, every=2)  # every other pair: what holds for half holds for all
    for name in META:
        counts = np.array(result[name]["counts"])
        assert counts.sum() >= 1000, name
        assert np.count_nonzero(counts >= 500) >= 5, name
    assert np.mean([values["nearest"] for values in result.values()]) >= 0.6
