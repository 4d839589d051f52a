# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Ground-truth flow, categories and instances of a split, from its boxes."""

from pathlib import Path

from stages.labels.truth import TruthParameters, truth_log
from stages.pipeline.logs import map_logs, split_tasks
from stages.pipeline.main import stage_main

Parameters = TruthParameters


def main(split: str, parameters: TruthParameters) -> None:
    """Write `data/truth/<split>`, one file a log."""
    map_logs(
        "truth",
        truth_log,
        split_tasks(split, ("frames", "boxes")),
        parameters,
        outputs={"truth": Path("data/truth") / split},
        suffixes={"truth": ".h5"},
        packages=("numpy", "pyarrow"),
        optional=("truth",),
    )


if __name__ == "__main__":
    stage_main("truth", main, Parameters)
