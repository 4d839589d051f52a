# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Two metric files side by side, refused where they do not answer the same question."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.evaluation.bootstrap import intervals
from stages.evaluation.find import find
from stages.evaluation.headline import HEADLINE
from stages.evaluation.protocol import require_same

Draws = dict[tuple[str, ...], NDArray[np.float64]]
_AGAIN = "score again and compare the files of one run"


def comparison(a: Path, b: Path, draws_a: Path | None = None, draws_b: Path | None = None) -> str:
    """Headline numbers of the model in two metric files, and their difference; a dash where one has none.

    Args:
        a: metric file.
        b: metric file.
        draws_a: table `bootstrap.parquet` of the same run; with both, the difference gets an interval.
        draws_b: the other's.

    Raises:
        InputError: protocols that differ, naming how; no number in common; draws of another run.
    """
    first, second = read_report(a), read_report(b)
    require_same((str(a), str(b)), first["protocol"], second["protocol"])
    changes: dict[tuple[str, ...], str] = {}
    if draws_a is not None and draws_b is not None:
        level = _require_paired((a, b), first, second)
        changes = _changes(read_draws(draws_a, first, a), read_draws(draws_b, second, b), level)
    rows = {path: (_value(first["model"], path), _value(second["model"], path)) for path in HEADLINE}
    if all(None in pair for pair in rows.values()):
        raise InputError(f"{a} and {b} have no headline number in common; score both with the same frames and masks")
    width = max(len(".".join(path)) for path in rows) + 2
    lines = [
        f"{'':{width}}{'first':>11}{'second':>11}{'change':>11}" + ("   interval of the change" if changes else "")
    ]
    for path, (x, y) in rows.items():
        if x is not None or y is not None:
            change = "-" if x is None or y is None else f"{y - x:+.4f}"
            numbers = f"{_number(x):>11}{_number(y):>11}{change:>11}{changes.get(path, '')}"
            lines.append(f"{'.'.join(path):{width}}{numbers}")
    return "\n".join(lines)


def read_report(path: Path) -> dict[str, Any]:
    """Content of a metric file; InputError if it is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a metric file ({error})") from error
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("protocol", "model")]
    if not all(isinstance(part, dict) for part in parts):
        raise InputError(f"{path} is not a metric file: it has no protocol or no model")
    return content


def _value(metrics: Any, path: tuple[str, ...]) -> float | None:
    value = find(metrics, path)
    return float(value) if isinstance(value, int | float) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _require_paired(paths: tuple[Path, Path], a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """The level of the intervals of two files that were resampled alike."""
    for path, report in zip(paths, (a, b), strict=True):
        if not isinstance(report.get("intervals"), Mapping):
            raise InputError(f"{path} has no intervals, so its draws say nothing; {_AGAIN}")
    for key in ("unit", "units", "resamples", "seed", "level"):
        x, y = a["intervals"].get(key), b["intervals"].get(key)
        if x is None or x != y:
            raise InputError(f"the draws differ in {key} ({x!r} against {y!r}); score both with the same bootstrap")
    return float(a["intervals"]["level"])


def read_draws(path: Path, report: Mapping[str, Any], named: Path) -> Draws:
    """Resampled headline numbers of the model.

    Args:
        path: table `bootstrap.parquet`.
        report: content of the metric file of the same run.
        named: that file.

    Raises:
        InputError: a table that cannot be read, or that is not of that run: its intervals are other ones.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        rows = np.array([name == "model" for name in table["prediction"].to_pylist()], dtype=np.bool_)
        names = [name for name in table.column_names if name not in ("prediction", "resample")]
        draws = {tuple(name.split(".")): table[name].to_numpy().astype(np.float64)[rows] for name in names}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a table of draws ({error}); {_AGAIN}") from error
    bounds = report["intervals"]
    if rows.sum() != bounds["resamples"]:
        raise InputError(f"{path} has {rows.sum()} draws, but {named} tells of {bounds['resamples']}; {_AGAIN}")
    if "model" in bounds and intervals(draws, float(bounds["level"])) != bounds["model"]:
        raise InputError(f"{path} is not the table of the run that wrote {named}: its intervals are others; {_AGAIN}")
    return draws


def _changes(a: Draws, b: Draws, level: float) -> dict[tuple[str, ...], str]:
    """The interval of the change of each number that both runs have in some draw."""
    found = {}
    for path in a.keys() & b.keys():
        change = b[path] - a[path]
        change = change[~np.isnan(change)]
        if len(change):
            low, high = np.quantile(change, [(1 - level) / 2, (1 + level) / 2])
            found[path] = f"   {low:+.4f} to {high:+.4f}"
    return found
