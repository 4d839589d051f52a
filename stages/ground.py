# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground masks of a split: which points lie on the road, by map or by Patchwork++."""

from pathlib import Path

from stages.labels.ground import GroundParameters, ground_log
from stages.pipeline.logs import map_logs, split_tasks
from stages.pipeline.main import stage_main

Parameters = GroundParameters


def main(split: str, parameters: GroundParameters) -> None:
    """Write `data/ground/<split>`, one file a log."""
    map_logs(
        "ground",
        ground_log,
        split_tasks(split, ("frames", "maps")),
        parameters,
        outputs={"ground": Path("data/ground") / split},
        suffixes={"ground": ".h5"},
        packages=("numpy", "pypatchworkpp"),
    )


if __name__ == "__main__":
    stage_main("ground", main, Parameters)
