# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The gate's verdicts as a Markdown table, for a pull request."""

from collections.abc import Sequence

from stages.gating.judge import FAILING, Line

_MARK = {"worse": "❌", "failed": "❌", "better": "✅", "base reset": "⚠️", "stale": "⚠️"}


def gate_table(lines: Sequence[Line], base: str, measured: str) -> str:
    """Table of all verdicts, faults of whole files below it."""
    failing = sum(line.verdict in FAILING for line in lines)
    head = f"### Metric gate: {'failed' if failing else 'passed'}\n\nBase `{base}`; slack: {measured}.\n"
    rows = ["", "| metric | base | now | change | allowed | verdict |", "|---|---:|---:|---:|---:|---|"]
    rows += [_row(line) for line in lines if line.metric]
    whole = [f"- {_MARK.get(line.verdict, '')} `{line.file}` {line.remark}" for line in lines if not line.metric]
    return "\n".join([head, *whole, *rows]) + "\n"


def _row(line: Line) -> str:
    change = f"{line.now - line.base:+.4f}" if line.now is not None and line.base is not None else ""
    verdict = f"{_MARK.get(line.verdict, '')} {line.verdict} {line.remark}".strip()
    numbers = [_number(line.base), _number(line.now), change, _number(line.allowed)]
    return f"| `{line.file}` {line.metric} | {' | '.join(numbers)} | {verdict} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
