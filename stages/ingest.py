# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Raw logs into frames, boxes and maps, each checked against the catalog while it is read."""

import json
from pathlib import Path

from stages.frames.ingest import Ingest, IngestParameters, ingest_log, write_index
from stages.pipeline.code import code_digest
from stages.pipeline.logs import LogTask, map_logs
from stages.pipeline.main import stage_main
from stages.pipeline.source import DataParameters
from stages.sources.catalog import read_catalog
from stages.sources.registry import ADAPTERS
from stages.sources.root import raw_root

Parameters = IngestParameters
_SIZE = 1.3  # frames over raw files: 12 bytes a point, of which AV2's compressed sweeps take 10.2 (measured)
KINDS = {"frames": ".h5", "boxes": ".parquet", "maps": ".h5"}


def main(split: str, parameters: IngestParameters, data: DataParameters) -> None:
    """Write `data/{frames,boxes,maps}/<split>`."""
    adapter = ADAPTERS[data.source]
    digest, entries = read_catalog(Path(f"data/catalog/{split}.json"))
    root = raw_root(data.source) if entries else Path()
    folders = adapter.logs(root, split)
    tasks = [
        LogTask(
            log,
            inputs={},
            pinned={"raw": folders.get(log, root / split / log)},
            arguments={"entry": json.dumps(entry, sort_keys=True), "digest": digest},
            sweeps=sum(map(adapter.is_sweep, entry)),
            size=int(_SIZE * sum(int(size) for size, _ in entry.values())),
        )
        for log, entry in entries.items()
    ]
    map_logs(
        "ingest",
        ingest_log,
        tasks,
        Ingest(parameters.pair_gap_s, adapter, code_digest(type(adapter).__module__)),
        outputs={kind: Path("data") / kind / split for kind in KINDS},
        suffixes=KINDS,
        packages=("numpy", "pyarrow"),
        optional=("boxes", "maps"),
        finish=lambda folders: write_index(folders["frames"]),
    )


if __name__ == "__main__":
    stage_main("ingest", main, Parameters)
