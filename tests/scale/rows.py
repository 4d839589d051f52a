# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of metrics/benchmarks/pipeline.json: a value, its spread, where and how it was measured."""

import json
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stages.frames.write import atomic
from stages.pipeline.code import ROOT

OUTPUT = ROOT / "metrics/benchmarks/pipeline.json"


def row(case: str, values: Sequence[float], unit: str, how: str, packages: Sequence[str], cores: int) -> dict[str, Any]:
    """Median of some measurements and the width of their range; of one that was measured once, that is said."""
    once = len(values) == 1 and not how.startswith(("calculated", "its processor time"))
    return {
        "case": case,
        "value": round(statistics.median(values), 3),
        "unit": unit,
        "spread": round(max(values) - min(values), 3),
        "device": f"{processor()}, {cores} cores" if cores > 1 else f"{processor()}, one core",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "how": f"{how}; one run" if once else how,
    }


def write_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Put rows into the file in the place of those of the same cases."""
    old = json.loads(OUTPUT.read_text()) if OUTPUT.exists() else []
    merged = {item["case"]: item for item in (*old, *rows)}
    with atomic(OUTPUT) as file:
        file.write_text(json.dumps([merged[case] for case in sorted(merged)], indent=1) + "\n")


def processor() -> str:
    """Name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
