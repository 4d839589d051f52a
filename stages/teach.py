# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Flow of a teacher for the train split, from weights or from predictions; an empty folder without one."""

from pathlib import Path

from stages.learning.predict import predict_file, predict_tasks
from stages.learning.teach import NOBODY, TeachParameters, convert_file, convert_tasks, is_weights
from stages.pipeline.logs import LogTask, map_logs
from stages.pipeline.main import stage_main

Parameters = TeachParameters


def main(split: str, parameters: TeachParameters) -> None:
    """Write `data/teacher/<split>`, one file a log, in the form of predictions."""
    source = Path(parameters.source)
    by_weights = source != NOBODY and is_weights(source)
    tasks: list[LogTask] = []
    one_process = False
    if by_weights:
        tasks, one_process = predict_tasks(split, source)
    elif source != NOBODY:
        tasks = convert_tasks(split, source)
    map_logs(
        "teach",
        predict_file if by_weights else convert_file,
        tasks,
        parameters.rule() if by_weights else None,
        outputs={"predictions": Path("data/teacher") / split},
        suffixes={"predictions": ".h5"},
        packages=("numpy", "torch"),
        workers=1 if one_process else None,
    )


if __name__ == "__main__":
    stage_main("teach", main, Parameters)
