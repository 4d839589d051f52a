# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""List the raw logs of a split with sizes and digests, so that what follows depends on one small file in git."""

import sys
from pathlib import Path

from stages.av2.catalog import CatalogParameters, log_entry, write_catalog
from stages.av2.layout import log_folders
from stages.av2.root import raw_folder
from stages.pipeline.compute import compute
from stages.pipeline.logs import raise_failures
from stages.pipeline.main import stage_main
from stages.pipeline.pool import Failure, run_tasks
from stages.pipeline.progress import Progress
from stages.pipeline.source import DataParameters

Parameters = CatalogParameters


def main(split: str, parameters: CatalogParameters, data: DataParameters) -> None:
    """Write `data/catalog/<split>.json`."""
    folder = raw_folder(data.source, split)
    logs = log_folders(folder) if folder else []
    if not logs:
        sys.stderr.write(f"split {split} has no logs\n")
    tasks = [(log, parameters.digest) for log in logs]
    entries, failures = {}, []
    with Progress(f"catalog {split}", len(logs), 0) as progress:
        for index, entry in run_tasks(_entry, tasks, [log.name for log in logs], compute().workers):
            if isinstance(entry, Failure):
                failures.append(entry)
                continue
            entries[logs[index].name] = entry
            progress.log_done(0, found=False)
    if failures:
        raise_failures(f"catalog failed for {len(failures)} of {len(logs)} logs", failures)
    write_catalog(Path(f"data/catalog/{split}.json"), data.source, parameters.digest, split, entries)


def _entry(task: tuple[Path, str]) -> dict[str, list[int | str]]:
    return log_entry(*task)


if __name__ == "__main__":
    stage_main("catalog", main, Parameters)
