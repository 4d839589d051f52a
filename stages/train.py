# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Train the network of the section `train` on the train split."""

from pathlib import Path

from models.training.parameters import TrainParameters
from stages.learning.node import is_launched, take_part
from stages.learning.train import train_flow
from stages.pipeline.folders import require_folders
from stages.pipeline.main import stage_main

Parameters = TrainParameters


def main(parameters: TrainParameters) -> None:
    """Write `data/weights/flow.safetensors` and the curves."""
    # Here and not where they are opened: by then processes of several machines may be at work.
    require_folders(Path("data"), "train", ("frames", "ground", parameters.labels))
    train_flow(Path("data"), Path("data/weights/flow.safetensors"), Path("data/curves"), parameters)


if __name__ == "__main__":
    if is_launched():  # as one process of a training on several machines
        take_part()
    else:
        stage_main("train", main, Parameters)
