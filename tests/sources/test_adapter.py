# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A data set of another kind behind the interface: all logs in one folder, all sweeps of a log in one file."""

import io
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.data.logfile import LogFrames
from models.errors import InputError
from stages.frames.ingest import Ingest, ingest_log
from stages.pipeline.code import project_modules
from stages.pipeline.source import DataParameters
from stages.sources.adapter import Adapter, Sweep, narrow
from stages.sources.catalog import log_entry
from stages.sources.log_files import LogFiles
from stages.sources.registry import ADAPTERS


class OneFile(Adapter):
    """`<root>/<split>-<log>.npz` with points (T, N, 3), times (T,), poses (T, 4, 4) and mount (4, 4)."""

    def logs(self, root: Path, split: str) -> Mapping[str, Path]:
        return {path.stem.removeprefix(f"{split}-"): root for path in sorted(root.glob(f"{split}-*.npz"))}

    def files(self, log_id: str, folder: Path) -> Sequence[str]:
        return [path.name for path in folder.glob(f"*-{log_id}.npz")]

    def is_sweep(self, name: str) -> bool:
        return False

    def timestamps(self, log: LogFiles) -> NDArray[np.int64]:
        return self._array(log, "times")

    def sweep(self, log: LogFiles, index: int) -> Sweep:
        xyz = narrow(self._array(log, "points")[index])
        zeros = np.zeros(len(xyz))
        return Sweep(xyz, zeros.astype(np.uint8), zeros.astype(np.uint8), zeros.astype(np.int32))

    def poses(self, log: LogFiles) -> NDArray[np.float64]:
        return self._array(log, "poses")

    def mounts(self, log: LogFiles) -> Mapping[str, NDArray[np.float64]]:
        mount = self._array(log, "mount")
        return {"up_lidar": mount, "down_lidar": mount}

    def _array(self, log: LogFiles, name: str) -> NDArray[Any]:
        (file,) = log.entry
        return np.load(io.BytesIO(log.read(file)))[name]


class Blind(OneFile):
    """An adapter that forgets a mount."""

    def mounts(self, log: LogFiles) -> Mapping[str, NDArray[np.float64]]:
        return {"top": self._array(log, "mount")}


def arrays() -> dict[str, NDArray[Any]]:
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = [0.0, 1.0, 2.0]
    points = np.random.default_rng(0).uniform(-9, 9, (3, 50, 3))
    return {"points": points, "times": np.arange(3) * 100_000_000, "poses": poses, "mount": np.eye(4)}


def ingest(root: Path, log: str, adapter: Adapter | None = None) -> LogFrames:
    adapter = adapter or OneFile()
    folder = adapter.logs(root, "train")[log]
    entry = log_entry(folder, adapter.files(log, folder), "full", adapter.is_sweep)
    outputs = {kind: root / "out" / kind for kind in ("frames", "boxes", "maps")}
    arguments = {"entry": json.dumps(entry), "digest": "full"}
    ingest_log(log, {"raw": folder}, outputs, Ingest((0.05, 0.15), adapter, ""), arguments)
    return LogFrames.open(outputs["frames"])


def test_logs_may_share_a_folder_and_sweeps_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "train-a.npz", **arrays())
    np.savez(tmp_path / "train-b.npz", **arrays() | {"points": np.zeros((3, 1, 3))})
    np.savez(tmp_path / "val-c.npz", **arrays())
    assert list(OneFile().logs(tmp_path, "train")) == ["a", "b"]
    frames = ingest(tmp_path, "a")
    assert frames.log_id == "a"
    assert np.array_equal(frames.xyz(1), arrays()["points"][1].astype(np.float32))
    assert frames.pairs().tolist() == [0, 1]
    assert ingest(tmp_path, "b").num_points == 3


def changed(name: str, change: Callable[[NDArray[Any]], object]) -> dict[str, NDArray[Any]]:
    values = arrays()
    found = change(values[name])
    return {**values, name: found} if isinstance(found, np.ndarray) else values


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (changed("points", lambda a: a.__setitem__((1, 2, 0), np.nan)), "points with NaN or infinity in sweep 1"),
        (changed("times", lambda a: a[::-1]), "times of the sweeps does not increase at row 1"),
        (changed("times", lambda a: a[:0]), "has no sweep"),
        (changed("poses", lambda a: a[:2]), "poses has 2 poses for 3 sweeps"),
        (changed("poses", lambda a: a.__setitem__((2, 0, 0), -1.0)), "poses row 2 is left-handed"),
        (changed("poses", lambda a: a.__setitem__((0, 0, 3), np.inf)), "poses row 0 holds NaN or infinity"),
        (changed("mount", lambda a: a * [[2], [2], [2], [1]]), "mount of up_lidar row 0 is no rigid transform"),
    ],
)
def test_what_an_adapter_lets_pass_ingest_refuses(values: dict[str, NDArray[Any]], part: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "train-a.npz", **values)
    with pytest.raises(InputError, match="correct the data or its adapter") as refusal:
        ingest(tmp_path, "a")
    assert part in str(refusal.value)


def test_a_mount_that_an_adapter_forgets_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "train-a.npz", **arrays())
    with pytest.raises(InputError, match=r"has mounts of \['top'\], wanted up_lidar and down_lidar"):
        ingest(tmp_path, "a", Blind())


def test_every_source_has_an_adapter() -> None:
    assert set(ADAPTERS) == set(typing.get_args(typing.get_type_hints(DataParameters)["source"]))


def test_a_change_of_one_adapter_reads_no_log_of_another_again() -> None:
    """The key of an ingested log holds the code of ingest and of its own adapter."""
    for module in ("stages.frames.ingest", "stages.av2.adapter"):
        assert not any(name.startswith("stages.folder") for name in project_modules(module))
    assert not any(name.startswith("stages.av2") for name in project_modules("stages.frames.ingest"))
    assert not any(name.startswith("stages.av2") for name in project_modules("stages.folder.adapter"))
