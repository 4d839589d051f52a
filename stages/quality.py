# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Quality of the labels of a split: statistics, and agreement with the boxes where there are any."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from stages.frames.write import atomic
from stages.labels.outliers import outliers
from stages.labels.protocol import label_protocol
from stages.labels.quality import QualityParameters, count_table, quality_log, summary
from stages.pipeline.logs import map_logs, split_tasks
from stages.pipeline.main import stage_main

Parameters = QualityParameters
TABLE = "logs.parquet"


def main(split: str, parameters: QualityParameters) -> None:
    """Write the table `data/quality/<split>/logs.parquet`, one row a log, and `metrics/labels.json`; name odd logs."""
    import polars as pl

    folder = Path("data/quality") / split
    tasks = split_tasks(split, ("frames", "ground", "dynamic", "clusters", "truth"))
    map_logs(
        "quality",
        quality_log,
        tasks,
        parameters,
        outputs={"quality": folder},
        suffixes={"quality": ".parquet"},
        packages=("numpy", "polars"),
        finish=join_rows,
    )
    protocol = label_protocol(Path(f"data/catalog/{split}.json"), [task.inputs for task in tasks], parameters)
    table = pl.read_parquet(folder / TABLE).to_dict(as_series=False)
    metrics = summary(table)
    tell(outliers(table))
    with atomic(Path("metrics/labels.json")) as file:
        file.write_text(json.dumps({"protocol": protocol, **metrics}, indent=2) + "\n")


def tell(odd: Mapping[str, str]) -> None:
    """Name odd logs on standard error."""
    for log, oddity in odd.items():
        sys.stderr.write(f"warning: log {log} {oddity}; look at it before training on it\n")


def join_rows(folders: Mapping[str, Path]) -> None:
    """Put the one-row tables of the logs into one table, in the order of their ids."""
    import polars as pl

    rows = sorted(folders["quality"].glob("*.parquet"))
    table = pl.concat([count_table([], []), *(pl.read_parquet(row) for row in rows)])
    for row in rows:
        row.unlink()
    table.write_parquet(folders["quality"] / TABLE, statistics=False)


if __name__ == "__main__":
    stage_main("quality", main, Parameters)
