# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Raw logs into frames, boxes and maps, each checked against the catalog while it is read."""

import json
from pathlib import Path

from stages.av2.catalog import read_catalog
from stages.av2.layout import sweep_timestamps
from stages.av2.root import raw_folder
from stages.frames.ingest import IngestParameters, ingest_log, write_index
from stages.pipeline.logs import LogTask, map_logs
from stages.pipeline.main import stage_main
from stages.pipeline.source import DataParameters

Parameters = IngestParameters
_SIZE = 1.3  # frames over raw files: 12 bytes a point, of which AV2's compressed sweeps take 10.2 (measured)
KINDS = {"frames": ".h5", "boxes": ".parquet", "maps": ".h5"}


def main(split: str, parameters: IngestParameters, data: DataParameters) -> None:
    """Write `data/{frames,boxes,maps}/<split>`."""
    digest, entries = read_catalog(Path(f"data/catalog/{split}.json"))
    folder = (raw_folder(data.source, split) if entries else None) or Path()
    tasks = [
        LogTask(
            log,
            inputs={},
            pinned={"raw": folder / log},
            arguments={"entry": json.dumps(entry, sort_keys=True), "digest": digest},
            sweeps=len(sweep_timestamps(list(entry))),
            size=int(_SIZE * sum(int(size) for size, _ in entry.values())),
        )
        for log, entry in entries.items()
    ]
    map_logs(
        "ingest",
        ingest_log,
        tasks,
        parameters,
        outputs={kind: Path("data") / kind / split for kind in KINDS},
        suffixes=KINDS,
        packages=("numpy", "pyarrow"),
        optional=("boxes", "maps"),
        finish=lambda folders: write_index(folders["frames"]),
    )


if __name__ == "__main__":
    stage_main("ingest", main, Parameters)
