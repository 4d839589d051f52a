# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Archives for the scene-flow leaderboards from the predictions of the test split."""

import sys

from stages.evaluation.submission import SubmitParameters
from stages.evaluation.submit import cautions, submit_split
from stages.pipeline.main import stage_main

Parameters = SubmitParameters
SPLIT = "test"


def main(parameters: SubmitParameters) -> None:
    """Write `data/submission/test/<format>.zip` and name the archives."""
    archives = submit_split(SPLIT, parameters)
    for archive in archives:
        sys.stdout.write(f"{archive} ({archive.stat().st_size / 2**20:.1f} MiB)\n")
    for caution in cautions(parameters) if archives else [f"split {SPLIT} has no logs"]:
        sys.stderr.write(f"{caution}\n")


if __name__ == "__main__":
    stage_main("submit", main, Parameters)
