# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Residual flow of every pair of a split by the trained network, or by other weights."""

from pathlib import Path

from stages.learning.predict import PredictParameters, predict_file, predict_tasks
from stages.pipeline.logs import map_logs
from stages.pipeline.main import stage_main

Parameters = PredictParameters


def main(split: str, parameters: PredictParameters) -> None:
    """Write `data/predictions/<split>`, one file a log."""
    tasks, one_process = predict_tasks(split, Path(parameters.weights))
    map_logs(
        "predict",
        predict_file,
        tasks,
        parameters.rule(),
        outputs={"predictions": Path("data/predictions") / split},
        suffixes={"predictions": ".h5"},
        packages=("numpy", "torch"),
        workers=1 if one_process else None,
    )


if __name__ == "__main__":
    stage_main("predict", main, Parameters)
