# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What label statistics were counted over: two of them are compared only if this is the same."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.data.logfile import LogColumns
from stages.labels.quality import QualityParameters
from stages.pipeline.digest import file_digest, value_digest

METRIC_VERSION = 1  # of the counts and shares in stages/labels/quality.py
_OF_MAP = ("map_v1", "map_v2")  # ground rules that the catalog alone determines


def label_protocol(
    catalog: Path, inputs: Sequence[Mapping[str, Path]], parameters: QualityParameters
) -> dict[str, Any]:
    """Data, truth, scored points and thresholds of label statistics.

    How the labels were made is not in it: that is what the statistics are there to judge.

    Args:
        catalog: the split's catalog.
        inputs: of each log, its files `ground`, `dynamic` and `truth`; the last may be absent.
        parameters: what counts as moving and as pure.
    """
    ground = [LogColumns.open(log["ground"], "ground/1") for log in inputs]
    dynamic = [LogColumns.open(log["dynamic"], "dynamic/1").attributes for log in inputs]
    truth = [LogColumns.open(log["truth"], "truth/1").attributes for log in inputs if log["truth"].exists()]
    return {
        "metric_version": METRIC_VERSION,
        "catalog": file_digest(catalog),
        "logs_with_truth": len(truth),
        "truth": _values(str(of["recipe"]) for of in truth),
        "ground": _ground(ground),
        "range_m": _values(f"{of['min_range']} to {of['max_range']}" for of in dynamic),
        **dataclasses.asdict(parameters),
    }


def _ground(masks: Sequence[LogColumns]) -> str:
    """Rules of the masks; with a digest where a rule has settings of its own, which score other points."""
    own = {str(mask.attributes["log_id"]): file_digest(mask.path) for mask in masks if _rule(mask) not in _OF_MAP}
    rules = _values(_rule(mask) for mask in masks)
    return f"{rules} (masks {value_digest(own)[:32]})" if own else rules


def _rule(mask: LogColumns) -> str:
    return str(mask.attributes["rule"])


def _values(values: Iterable[str]) -> str:
    """The different values, sorted; 'none' where there are none."""
    return ", ".join(sorted(set(values))) or "none"
