# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring the pipeline's own predictions of a split."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.logfile import LogColumns, log_ids
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.protocol import protocol, provenance
from stages.evaluation.scores import ScoreParameters
from stages.evaluation.selection import Frames
from stages.evaluation.sources import Missing
from stages.evaluation.split import Source, merge_scores, report, score_logs, write_report, write_tables


@dataclass(frozen=True)
class EvaluateParameters:
    """What is scored and how sure the numbers are.

    Attributes:
        frames: `all` pairs with truth, or the `official` every fifth of the leaderboards.
        mask_zip: v1's official mask zip, relative to the project; None makes the masks by rule.
        missing: a frame without prediction is a fault (`refuse`), or is scored as `ego_motion`.
        bootstrap: how confidence intervals are made.
    """

    frames: Frames
    mask_zip: str | None
    missing: Missing
    bootstrap: BootstrapParameters

    def __post_init__(self) -> None:
        if self.mask_zip is not None and self.frames != "official":
            raise ValueError("mask_zip holds the official frames only: it needs frames official")


def score_pipeline(split: str, parameters: EvaluateParameters) -> dict[str, Any]:
    """Score `data/predictions/<split>` and write the metric file and the tables; returns the metric file."""
    folder = Path("data/predictions") / split
    source = Source(
        data=Path("data"),
        split=split,
        predictions={log: folder / f"{log}.h5" for log in log_ids(Path("data/frames") / split)},
        mask_zip=Path(parameters.mask_zip) if parameters.mask_zip else None,
    )
    output = Path("data/evaluation") / split
    attributes = {log: LogColumns.open(path, "predictions/1").attributes for log, path in source.predictions.items()}
    content = score(source, parameters, Path(f"data/catalog/{split}.json"), output, provenance(attributes))
    write_report(Path(f"metrics/{split}.json"), content)
    return content


def score(
    source: Source, parameters: EvaluateParameters, catalog: Path, output: Path, made: dict[str, Any]
) -> dict[str, Any]:
    """Score a source and write its tables to `output`; returns the content of its metric file."""
    score_logs(source, ScoreParameters(parameters.frames, parameters.missing), output)
    merged = merge_scores(output)
    if not merged.logs:
        sys.stderr.write(f"split {source.split} has no logs\n")
    metrics, draws = report(merged, parameters.bootstrap)
    if merged.totals:
        write_tables(output, merged, draws)
    return {
        "protocol": protocol(catalog, parameters.frames, parameters.missing, merged.logs, source.mask_zip),
        "provenance": made,
        **metrics,
    }
