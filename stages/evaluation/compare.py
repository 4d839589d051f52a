# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Two metric files side by side, refused where they do not answer the same question."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.evaluation.headline import HEADLINE
from stages.evaluation.protocol import require_same

Draws = dict[str, NDArray[np.float64]]


def comparison(a: Path, b: Path, draws_a: Path | None = None, draws_b: Path | None = None) -> str:
    """Headline numbers of the model in two metric files, and their difference.

    Args:
        a: metric file.
        b: metric file.
        draws_a: table `bootstrap.parquet` of the same run; with both, the difference gets an interval.
        draws_b: the other's.

    Raises:
        InputError: protocols that differ, naming how.
    """
    first, second = read_report(a), read_report(b)
    require_same((str(a), str(b)), first["protocol"], second["protocol"])
    paired = None
    if draws_a is not None and draws_b is not None:
        _require_paired(first, second)
        paired = (_draws(draws_a), _draws(draws_b))
    lines = [f"{'':26}{'first':>11}{'second':>11}{'change':>11}" + ("   interval of the change" if paired else "")]
    for path in HEADLINE:
        x, y = _value(first["model"], path), _value(second["model"], path)
        if x is None or y is None:
            continue
        name = ".".join(path)
        drawn = paired is not None and name in paired[0] and name in paired[1]
        interval = _interval(paired, name, float(first["intervals"]["level"])) if paired and drawn else ""
        lines.append(f"{name:26}{x:11.4f}{y:11.4f}{y - x:+11.4f}{interval}")
    return "\n".join(lines)


def read_report(path: Path) -> dict[str, Any]:
    """Content of a metric file; InputError if it is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a metric file ({error})") from error
    if not isinstance(content, dict) or "protocol" not in content or "model" not in content:
        raise InputError(f"{path} is not a metric file: it has no protocol or no model")
    return content


def _value(metrics: Any, path: tuple[str, ...]) -> float | None:
    for key in path:
        metrics = metrics.get(key, {})
    return metrics if isinstance(metrics, float) else None


def _require_paired(a: dict[str, Any], b: dict[str, Any]) -> None:
    for key in ("unit", "units", "resamples", "seed", "level"):
        x, y = a["intervals"].get(key), b["intervals"].get(key)
        if x != y:
            raise InputError(f"the draws differ in {key} ({x!r} against {y!r}); score both with the same bootstrap")


def _draws(path: Path) -> Draws:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    rows = np.array([name == "model" for name in table["prediction"].to_pylist()])
    names = [name for name in table.column_names if name not in ("prediction", "resample")]
    return {name: table[name].to_numpy()[rows] for name in names}


def _interval(paired: tuple[Draws, Draws], name: str, level: float) -> str:
    change = paired[1][name] - paired[0][name]
    low, high = np.nanquantile(change, [(1 - level) / 2, (1 + level) / 2])
    return f"   {low:+.4f} to {high:+.4f}"
