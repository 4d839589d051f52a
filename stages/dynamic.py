# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Dynamic points of a split by free space seen over the whole log."""

from pathlib import Path

from stages.labels.dynamic import DynamicParameters, dynamic_log
from stages.pipeline.logs import map_logs, split_tasks
from stages.pipeline.main import stage_main

Parameters = DynamicParameters


def main(split: str, parameters: DynamicParameters) -> None:
    """Write `data/dynamic/<split>`, one file a log."""
    map_logs(
        "dynamic",
        dynamic_log,
        split_tasks(split, ("frames", "ground")),
        parameters,
        outputs={"dynamic": Path("data/dynamic") / split},
        suffixes={"dynamic": ".h5"},
        packages=("numpy", "dufomap"),
    )


if __name__ == "__main__":
    stage_main("dynamic", main, Parameters)
