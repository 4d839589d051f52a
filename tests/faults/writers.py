# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A stage of one log whose result fills a small disk, written by each library that the stages write with."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import InputError
from stages.frames.write import atomic, write_columns
from stages.pipeline.logs import LogTask, map_logs
from stages.pipeline.machine import machine_fault

NUMBERS = np.random.default_rng(0).random(500_000)  # 4 MB that nothing compresses


@dataclass(frozen=True)
class Parameters:
    writer: str


def write_hdf5(path: Path) -> None:
    write_columns(path, "fill/1", {"numbers": NUMBERS}, {})


def write_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic(path) as temporary:
        pq.write_table(pa.table({"numbers": NUMBERS}), temporary, compression="zstd")


def write_polars(path: Path) -> None:
    import polars as pl

    pl.DataFrame({"numbers": NUMBERS}).write_parquet(path)


def write_safetensors(path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"numbers": NUMBERS}, path)


def write_checkpoint(path: Path) -> None:
    import torch

    torch.save({"numbers": torch.from_numpy(NUMBERS)}, path)


def write_bytes(path: Path) -> None:
    path.write_bytes(NUMBERS.tobytes())


WRITERS = {
    name.removeprefix("write_"): function for name, function in list(globals().items()) if name.startswith("write_")
}
del WRITERS["columns"]


def fill_log(log_id: str, inputs: Mapping[str, Path], outputs: Mapping[str, Path], parameters: Parameters) -> None:
    WRITERS[parameters.writer](outputs["numbers"])


def main(writer: str) -> None:
    """As a stage does it; the error as a stage tells it."""
    try:
        map_logs(
            "fill", fill_log, [LogTask("one", {})], Parameters(writer), {"numbers": Path("out")}, {"numbers": ".bin"}
        )
    except InputError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        sys.exit(f"error: {fault}")


if __name__ == "__main__":
    main(sys.argv[1])
