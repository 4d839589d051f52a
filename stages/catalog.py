# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""List the raw logs of a split with sizes and digests, so that what follows depends on one small file in git."""

import sys
from pathlib import Path

from stages.pipeline.compute import compute
from stages.pipeline.folders import require_folders
from stages.pipeline.logs import raise_failures
from stages.pipeline.main import stage_main
from stages.pipeline.pool import Failure, run_tasks
from stages.pipeline.progress import Progress
from stages.pipeline.source import DataParameters
from stages.sources.adapter import Adapter
from stages.sources.catalog import CatalogParameters, log_entry, write_catalog
from stages.sources.presence import check_empty_split
from stages.sources.registry import ADAPTERS
from stages.sources.root import raw_root

Parameters = CatalogParameters


def main(split: str, parameters: CatalogParameters, data: DataParameters) -> None:
    """Write `data/catalog/<split>.json`."""
    adapter = ADAPTERS[data.source]
    root = raw_root(data.source)
    if data.source == "simulated":
        require_folders(Path("data"), split, ("raw",))
    logs = adapter.logs(root, split)
    if not logs:
        if data.source != "simulated":  # whose logs are as many as its parameters say
            check_empty_split(adapter, root, split)
        sys.stderr.write(f"split {split} has no logs\n")
    names = sorted(logs)
    tasks = [(adapter, log, logs[log], parameters.digest) for log in names]
    entries, failures = {}, []
    with Progress(f"catalog {split}", len(logs), 0) as progress:
        for index, entry in run_tasks(_entry, tasks, names, compute().workers):
            if isinstance(entry, Failure):
                failures.append(entry)
                continue
            entries[names[index]] = entry
            progress.log_done(0, found=False)
    if failures:
        raise_failures(f"catalog failed for {len(failures)} of {len(logs)} logs", failures)
    write_catalog(Path(f"data/catalog/{split}.json"), data.source, parameters.digest, split, entries)


def _entry(task: tuple[Adapter, str, Path, str]) -> dict[str, list[int | str]]:
    adapter, log_id, folder, digest = task
    return log_entry(folder, adapter.files(log_id, folder), digest, adapter.is_sweep)


if __name__ == "__main__":
    stage_main("catalog", main, Parameters)
