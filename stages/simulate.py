# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Simulate the logs of a split, in Argoverse 2's layout; empty when the data come from elsewhere."""

from pathlib import Path

from stages.pipeline.logs import LogTask, map_logs
from stages.pipeline.main import stage_main
from stages.pipeline.source import DataParameters
from stages.simulator.log import log_id, simulate_log
from stages.simulator.parameters import SimulateParameters
from stages.sources.root import raw_root

Parameters = SimulateParameters
_FIRING_BYTES = 64 * 12  # beams, and bytes of a point


def main(split: str, parameters: SimulateParameters, data: DataParameters) -> None:
    """Write `data/raw/<split>/<log>/`."""
    if data.source != "simulated":
        raw_root(data.source)  # a root that is not there is told by the first stage, before anything is lost
    size = parameters.split(split)
    tasks = [
        LogTask(
            log_id=log_id(parameters.seed, split, index),
            inputs={},
            arguments={"seed": parameters.seed, "split": split, "index": index, "sweeps": size.sweeps},
            sweeps=size.sweeps,
            size=size.sweeps * parameters.scene.lidar.azimuth_steps * _FIRING_BYTES,
        )
        for index in range(size.logs if data.source == "simulated" else 0)
    ]
    outputs, suffixes = {"raw": Path("data/raw") / split}, {"raw": ""}
    map_logs("simulate", simulate_log, tasks, parameters.scene, outputs, suffixes, packages=("numpy", "pyarrow"))


if __name__ == "__main__":
    stage_main("simulate", main, Parameters)
