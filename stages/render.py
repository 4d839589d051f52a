# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The report of the val split: one page of numbers, pictures and curves, and its pictures for `dvc plots`."""

from pathlib import Path

from stages.pipeline.main import stage_main
from stages.rendering.parameters import RenderParameters
from stages.rendering.report import write_report

Parameters = RenderParameters
SPLIT = "val"


def main(parameters: RenderParameters) -> None:
    """Write `report/index.html`, `report/frames.parquet` and `report/pictures/*.png`."""
    write_report(Path("report"), Path("data"), Path("metrics"), SPLIT, parameters)


if __name__ == "__main__":
    stage_main("render", main, Parameters)
