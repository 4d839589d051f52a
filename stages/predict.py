# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Residual flow of every pair of a split by the trained network."""

from dataclasses import replace
from pathlib import Path

from stages.learning.predict import PredictParameters, predict_file
from stages.pipeline.compute import compute
from stages.pipeline.logs import map_logs, split_tasks
from stages.pipeline.main import stage_main

Parameters = PredictParameters
WEIGHTS = Path("data/weights/flow.safetensors")


def main(split: str, parameters: PredictParameters) -> None:
    """Write `data/predictions/<split>`, one file a log."""
    from models.device import choose_device, device_name

    device = choose_device(compute().device)
    arguments = {"device": device, "device_name": device_name(device)}
    tasks = split_tasks(split, ("frames", "ground"))
    map_logs(
        "predict",
        predict_file,
        [replace(task, inputs={**task.inputs, "weights": WEIGHTS}, arguments=arguments) for task in tasks],
        parameters,
        outputs={"predictions": Path("data/predictions") / split},
        suffixes={"predictions": ".h5"},
        packages=("numpy", "torch"),
        workers=1 if device == "cuda" else None,  # one process feeds a GPU; each more would hold its own context
    )


if __name__ == "__main__":
    stage_main("predict", main, Parameters)
