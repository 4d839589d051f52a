# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Tries trainings on real logs: `python -m tests.models.traffic tests/models/traffic.yaml [--gpus 2] [--together 3]`.

The folder given by `--data` is a project's `data/` after `dvc repro cluster truth@train truth@val catalog@val` with
`data.source=av2`: frames, ground, truth, catalog and clusters are read. Runs share the GPUs; each trains, predicts and
is scored by the stages' own commands in a folder of its own. A row a run is added to the results as it ends, also for
one that failed or was stopped at its time limit. `--table` prints the results as Markdown instead.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from models.errors import InputError
from stages.pipeline.parameters import read_file
from tests.models.traffic_run import Place, Run, end_all, execute
from tests.models.traffic_table import table

RESULTS = Path("metrics/benchmarks/traffic.json")
_KEYS = {"name", "changes", "seeds", "steps", "clusters", "weights"}


def read_runs(config: Path, only: Sequence[str] = ()) -> list[Run]:
    """The runs of a file, the first seed of all before the second of any.

    Args:
        config: YAML with `base`, the parameter file, beside it; `common`, changes of all runs; `seeds`; `steps`; and
            `runs`, each with a name and its own `changes`, `seeds`, `steps`, `clusters` or `weights`.
        only: names to take; all if empty.
    """
    content = read_file(config)
    runs = []
    for entry in content["runs"]:
        unknown = set(entry) - _KEYS
        if unknown:
            raise InputError(f"{config}: run {entry.get('name')} has an unknown key {sorted(unknown)[0]!r}")
        for turn, seed in enumerate(entry.get("seeds", content["seeds"])):
            runs.append((turn, _run(config, content, entry, seed)))
    missing = set(only) - {run.name for _, run in runs}
    if missing:
        raise InputError(f"{config} has no run {sorted(missing)[0]!r}")
    runs.sort(key=lambda pair: pair[0])
    return [run for _, run in runs if not only or run.name in only]


def _run(config: Path, content: dict[str, Any], entry: dict[str, Any], seed: int) -> Run:
    return Run(
        name=entry["name"],
        seed=seed,
        base=config.parent / content["base"],
        changes={**content.get("common", {}), **entry.get("changes", {})},
        steps=entry.get("steps", content.get("steps")),
        clusters=entry.get("clusters", "clusters"),
        weights=Path(entry["weights"]) if "weights" in entry else None,
    )


class Results:
    """The file of results, written anew after each row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = json.loads(path.read_text()) if path.exists() else {"scored": {}, "rows": []}

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; what is the same for all models that were scored alike is kept once."""
        if "scored" in row:
            self.content["scored"][row["protocol"]] = row.pop("scored")
        self.content["rows"].append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        partial.write_text(json.dumps(self.content, indent=1) + "\n")
        os.replace(partial, self.path)


@contextmanager
def _taken(slots: SimpleQueue[int | None]) -> Iterator[int | None]:
    slot = slots.get()
    try:
        yield slot
    finally:
        slots.put(slot)


def work_off(runs: Sequence[Run], arguments: argparse.Namespace, results: Results) -> None:
    """Execute all runs, `together` at a time on each GPU, and no new one once the time is up."""
    slots: SimpleQueue[int | None] = SimpleQueue()
    for _ in range(arguments.together):
        for gpu in range(arguments.first, arguments.first + arguments.gpus) if arguments.gpus else [None]:
            slots.put(gpu)
    number = arguments.together * max(1, arguments.gpus)
    workers = max(1, (len(os.sched_getaffinity(0)) - number) // number) if arguments.gpus else 1
    end = time.monotonic() + 60 * arguments.total_minutes

    def work(run: Run) -> dict[str, Any]:
        with _taken(slots) as gpu:
            left = (end - time.monotonic()) / 60
            if left <= 0:
                return {"run": run.name, "seed": run.seed, "failed": "no time left to start it"}
            minutes = min(arguments.minutes, left)
            return execute(run, Place(arguments.data, arguments.work, minutes, gpu, arguments.together, workers))

    with ThreadPoolExecutor(number) as pool:
        for future in as_completed([pool.submit(work, run) for run in runs]):
            row = future.result()
            results.add(row)
            print(shown(row), flush=True)


def shown(row: dict[str, Any]) -> str:
    """A row as a line."""
    name = f"{row['run']} {row['seed']}"
    if "failed" in row:
        return f"{name:28} failed: {row['failed']}"
    moving, threeway = row["model"]["dynamic"], row["model"]["threeway"]
    return (
        f"{name:28} {row.get('steps', 0):5} steps {row.get('seconds', 0):6.1f} s  three-way {threeway['mean']:.4f} "
        f"(fd {threeway['fd']:.3f} fs {threeway['fs']:.3f} bs {threeway['bs']:.3f})  "
        f"car {moving['car']:.3f} pedestrian {moving['pedestrian']:.3f} mean {moving['mean']:.3f}"
    )


def main() -> None:
    """Parse, check every run's parameters before the first starts, and work them off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", type=Path, metavar="CONFIG", help="files of runs")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names of the runs to take")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the artifacts")
    parser.add_argument("--work", type=Path, default=Path(".scratch/traffic"), help="folder to work in")
    parser.add_argument("--gpus", type=int, default=1, help="GPUs to share, 0 for the CPU (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them (default: 0)")
    parser.add_argument("--together", type=int, default=1, help="runs at a time on each (default: 1)")
    parser.add_argument("--minutes", type=float, default=5.0, help="longest time of a training (default: 5)")
    parser.add_argument("--total-minutes", type=float, default=600.0, help="when to stop all trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to add to (default: %(default)s)")
    parser.add_argument("--table", action="store_true", help="print the results as Markdown")
    arguments = parser.parse_args()
    results = Results(arguments.results)
    if arguments.table:
        sys.stdout.write(table(results.content))
        return
    try:
        runs = [run for config in arguments.configs for run in read_runs(config, arguments.only)]
        for run in runs:
            run.parameters(arguments.data)
    except InputError as error:
        sys.exit(f"error: {error}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ended)
    work_off(runs, arguments, results)


def _ended(number: int, frame: object) -> None:
    end_all()
    os._exit(128 + number)  # the threads that wait for stages would write their rows as if those had failed


if __name__ == "__main__":
    main()
