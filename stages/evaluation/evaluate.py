# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring the pipeline's own predictions of a split."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.data.logfile import LogColumns, log_ids
from stages.evaluation.bootstrap import BootstrapParameters
from stages.evaluation.masks import require_masks
from stages.evaluation.protocol import catalog_digest, protocol, provenance
from stages.evaluation.scores import ScoreParameters
from stages.evaluation.selection import Frames
from stages.evaluation.sources import Missing
from stages.evaluation.split import (
    Scenes,
    Source,
    merge_scores,
    report,
    score_logs,
    score_scenes,
    write_report,
    write_tables,
)
from stages.pipeline.digest import value_digest
from stages.pipeline.folders import require_folders


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
    """Score `data/predictions/<split>` and write the metric file and the tables; returns the metric file.

    Raises:
        InputError: a folder of the split is not there; what `score` finds.
    """
    require_folders(Path("data"), split, ("frames", "truth", "ground", "predictions"))
    folder = Path("data/predictions") / split
    source = Source(
        data=Path("data"),
        split=split,
        predictions={log: folder / f"{log}.h5" for log in log_ids(Path("data/frames") / split)},
        mask_zip=Path(parameters.mask_zip) if parameters.mask_zip else None,
    )
    output = Path("data/evaluation") / split
    attributes = {log: LogColumns.open(path, "predictions/1").attributes for log, path in source.predictions.items()}
    content = score(source, parameters, Path(f"data/catalog/{split}.json"), output, provenance(attributes), output)
    write_report(Path(f"metrics/{split}.json"), content)
    return content


def score(
    source: Source | Scenes,
    parameters: EvaluateParameters,
    catalog: Path | None,
    output: Path,
    made: dict[str, Any],
    tables: Path | None,
) -> dict[str, Any]:
    """Score predictions.

    Args:
        source: what to score.
        parameters: which frames count and how sure the numbers are.
        catalog: the split's catalog; None names the logs by the digests of their frames, as scenes must be.
        output: folder that takes the scores of each log.
        made: provenance of the predictions.
        tables: folder that takes the tables, if they are wanted.

    Returns:
        the content of the metric file.

    Raises:
        InputError: no catalog or no usable mask zip, before anything is scored; what scoring a log finds.
    """
    digest = None if catalog is None else catalog_digest(catalog)
    require_masks(source.mask_zip)
    run = ScoreParameters(parameters.frames, parameters.missing)
    if isinstance(source, Scenes):
        score_scenes(source, run, output)
    else:
        score_logs(source, run, output)
    merged = merge_scores(output)
    if not merged.logs:
        sys.stderr.write(f"split {source.split} has no logs\n")
    metrics, draws = report(merged, parameters.bootstrap)
    if merged.totals and tables is not None:
        write_tables(tables, merged, draws)
    named = digest or value_digest({log: str(attributes["frames_digest"]) for log, attributes in merged.logs.items()})
    return {
        "protocol": protocol(named, parameters.frames, parameters.missing, merged.logs, source.mask_zip),
        "provenance": made,
        **metrics,
    }
