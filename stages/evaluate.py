# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Official metrics of the val split, for the model beside three baselines that need no training."""

import sys

from stages.evaluation.command import is_command, run
from stages.evaluation.evaluate import EvaluateParameters, score_pipeline
from stages.evaluation.split import PREDICTIONS
from stages.evaluation.table import headline_table
from stages.pipeline.main import stage_main
from stages.terminal.interrupt import run_command

Parameters = EvaluateParameters
SPLIT = "val"


def main(parameters: EvaluateParameters) -> None:
    """Write `metrics/val.json` and the tables `data/evaluation/val/*.parquet`, and print the headline."""
    sys.stdout.write(headline_table(score_pipeline(SPLIT, parameters), PREDICTIONS) + "\n")


if __name__ == "__main__":
    if is_command(sys.argv[1:]):
        run_command(lambda: run(sys.argv[1:]))
    else:
        stage_main("evaluate", main, Parameters)
