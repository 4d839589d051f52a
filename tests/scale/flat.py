# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A step that runs every label function on a log and writes what its worker holds: memory and open files."""

import gc
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.scale.cost import functions


@dataclass(frozen=True)
class Parameters:
    folder: str


def worker_log(log_id: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], parameters: Parameters) -> None:
    """Ingest to clusters of one log in the worker, then its resident memory in MiB and its number of open files."""
    folder = Path(parameters.folder) / log_id
    folder.mkdir()
    run = functions(folder, inputs["raw"])
    for step in ("ingest", "ground", "truth", "dynamic-0.2", "cluster"):
        run[step]()
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    held = {"mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20, "files": len(os.listdir("/proc/self/fd"))}
    outputs["held"].write_text(json.dumps({**held, "pid": os.getpid()}))
