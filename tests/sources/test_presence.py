# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A split without logs passes where the data have none, and stops the catalog where its logs lie elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import InputError
from stages.av2.adapter import Av2
from stages.folder.adapter import Folder
from stages.pipeline.code import ROOT
from stages.sources.presence import check_empty_split
from tests.folder.logs import LOG as FOLDER_LOG
from tests.folder.logs import write_folder_log
from tests.pipeline.raw_logs import LOG, write_log
from tests.sources.test_adapter import OneFile


def catalog(folder: Path, split: str, source: str = "av2") -> subprocess.CompletedProcess[str]:
    """The catalog stage from the command line, its root `folder/root`."""
    (folder / "params.yaml").write_text(f"data: {{source: {source}}}\ncatalog: {{digest: full}}\n")
    root = str(folder / "root")
    environment = {**os.environ, "AV2_ROOT": root, "SCENEFLOW_DATA_ROOT": root, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "stages.catalog", "--split", split]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("place", ["", "training", "argoverse/train"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_logs_where_no_split_looks_are_an_error(split: str, place: str, tmp_path: Path) -> None:
    """Directly below the root, in a folder that is no split, and one level too deep."""
    log = write_log(tmp_path / "root")
    shutil.move(log, tmp_path / "root/sensor" / place / LOG)
    if "train" not in place.split("/"):
        shutil.rmtree(tmp_path / "root/sensor/train")
    else:
        (tmp_path / "root/sensor/train").rmdir()
    result = catalog(tmp_path, split)
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"error: split {split} has no logs, but {tmp_path / 'root/sensor' / place / LOG} is one; wanted "
        f"{tmp_path}/root/sensor/<split>/<log> with split train, val or test"
    )
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "data").exists()


def test_a_plain_folder_without_its_split_is_an_error(tmp_path: Path) -> None:
    shutil.move(write_folder_log(tmp_path / "root"), tmp_path / "root" / FOLDER_LOG)
    result = catalog(tmp_path, "val", "folder")
    assert result.returncode == 1
    assert f"but {tmp_path / 'root' / FOLDER_LOG} is one" in result.stderr


@pytest.mark.parametrize(
    ("names", "found"), [((), "holds nothing"), (("a", "b", "c", "d", "train"), "holds only a, b, c and 2 more")]
)
def test_a_root_without_any_log_is_an_error(names: tuple[str, ...], found: str, tmp_path: Path) -> None:
    for name in ("", *names):
        (tmp_path / "root" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f"no split has logs: {tmp_path}/root {found}; wanted"):
        check_empty_split(Folder(), tmp_path / "root", "test")


@pytest.mark.parametrize("present", ["train", "val", "test"])
def test_splits_that_the_data_have_not_stay_empty(present: str, tmp_path: Path) -> None:
    write_log(tmp_path / "root", present)
    for split in {"train", "val", "test"} - {present}:
        result = catalog(tmp_path, split)
        assert result.returncode == 0
        assert f"split {split} has no logs\n" in result.stderr


def test_logs_set_aside_stop_no_split_that_is_there_or_is_test(tmp_path: Path) -> None:
    root = tmp_path / "root/sensor"
    write_log(tmp_path / "root", "aside")
    write_log(tmp_path / "root", "val")
    check_empty_split(Av2(), root, "test")
    with pytest.raises(InputError, match=f"or make an empty folder {root}/train where none are meant to be"):
        check_empty_split(Av2(), root, "train")
    (root / "train").mkdir()
    check_empty_split(Av2(), root, "train")


def test_an_adapter_that_finds_logs_in_its_own_way_is_asked_for_them_alone(tmp_path: Path) -> None:
    (tmp_path / "val-b.npz").touch()
    check_empty_split(OneFile(), tmp_path, "train")
    (tmp_path / "val-b.npz").unlink()
    with pytest.raises(InputError, match="no split has logs"):
        check_empty_split(OneFile(), tmp_path, "train")


def test_a_simulated_split_of_no_logs_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "data/raw/test").mkdir(parents=True)  # as the stage before leaves it
    result = catalog(tmp_path, "test", "simulated")
    assert result.returncode == 0
