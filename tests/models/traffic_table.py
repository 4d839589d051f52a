# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The results of trainings on real logs as a Markdown table: means over the seeds and how far these lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Head of a column, and the path of its number in a row's scores.
COLUMNS = (
    ("three-way EPE, m", ("threeway", "mean")),
    ("moving foreground", ("threeway", "fd")),
    ("still foreground", ("threeway", "fs")),
    ("background", ("threeway", "bs")),
    ("car", ("dynamic", "car")),
    ("pedestrian", ("dynamic", "pedestrian")),
    ("mean Dynamic", ("dynamic", "mean")),
)
BASELINES = (("nearest neighbour", "nearest"), ("ego motion", "ego_motion"))

Row = Mapping[str, Any]


def table(content: Mapping[str, Any]) -> str:
    """Markdown of the content of a results file; a table for each protocol."""
    parts = []
    for protocol, scored in content["scored"].items():
        rows = [row for row in content["rows"] if row.get("protocol") == protocol]
        parts.append("\n".join([*_head(), *_lines(rows), *_baselines(scored), "", _below(protocol, scored)]))
    failed = [f"{row['run']} {row['seed']}: {row['failed']}" for row in content["rows"] if "failed" in row]
    return "\n\n".join([*parts, *failed]) + "\n"


def _head() -> list[str]:
    names = ["run", "seeds", "steps", "s", *(name for name, _ in COLUMNS)]
    return [_line(names), _line(["---", *["---:"] * (len(names) - 1)])]


def _lines(rows: Sequence[Row]) -> list[str]:
    """A line a run, the best three-way mean first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["run"], []).append(row)
    ordered = sorted(groups.items(), key=lambda item: _mean([row["model"]["threeway"]["mean"] for row in item[1]]))
    return [_group(name, group) for name, group in ordered]


def _group(name: str, rows: Sequence[Row]) -> str:
    columns = [_spread([row["model"][a].get(b) for row in rows]) for _, (a, b) in COLUMNS]
    steps = str(rows[0].get("steps", "-"))
    times = [row["seconds"] for row in rows if "seconds" in row]
    seconds = f"{_mean(times):.0f}" if times else "-"
    return _line([name, str(len(rows)), steps, seconds, *columns])


def _baselines(scored: Row) -> list[str]:
    return [
        _line([name, "", "", "", *(_spread([scored[key][a].get(b)]) for _, (a, b) in COLUMNS)])
        for name, key in BASELINES
    ]


def _below(protocol: str, scored: Row) -> str:
    counts = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(scored["points"].items()))
    frames = scored["protocol"]["frames_v2"]
    return f"Points of the {frames} pairs: {counts}. Protocol {protocol}."


def _spread(values: Sequence[float | None]) -> str:
    """The mean, and half of the range of several values."""
    there = [value for value in values if value is not None]
    if not there:
        return "-"
    half = (max(there) - min(there)) / 2
    return f"{_mean(there):.3f}" + (f" ± {half:.3f}" if len(there) > 1 else "")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
