# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A stage that is run by hand where its inputs are not: one sentence, and nothing is written in their place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from models.errors import InputError
from stages.pipeline.code import ROOT
from stages.pipeline.folders import require_folders
from stages.pipeline.logs import split_tasks
from stages.pipeline.parameters import read_parameters
from stages.train import Parameters, main
from tests.pipeline.dependencies import declared, is_code

# Every stage that reads folders of a split, as a user calls it, and the folders without which it must not run.
READS = {
    "catalog": ("val", "raw"),
    "ground": ("val", "frames maps"),
    "truth": ("val", "frames boxes"),
    "dynamic": ("train", "frames ground"),
    "cluster": ("train", "frames ground dynamic"),
    "quality": ("train", "frames ground dynamic clusters truth"),
    "train": ("train", "frames ground clusters"),
    "predict": ("val", "frames ground"),
    "evaluate": ("val", "frames truth ground predictions"),
    "submit": ("test", "frames ground predictions"),
    "render": ("val", "frames ground truth predictions"),
}
WITH_SPLIT = ("catalog", "ground", "truth", "dynamic", "cluster", "quality", "predict")
# `teach` without a teacher reads nothing; the report leaves out what there is not of these.
NOT_NEEDED = {"teach": "frames ground", "render": "boxes evaluation clusters"}


def run(folder: Path, stage: str, **more: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "params.yaml", folder)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("SCENEFLOW_", "DVC_"))}
    store = {"SCENEFLOW_STORE": str(folder / "store"), "SCENEFLOW_DEVICE": "cpu", "SCENEFLOW_WORKERS": "1"}
    split = ["--split", READS[stage][0]] if stage in WITH_SPLIT else []
    return subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", *split],
        cwd=folder,
        env={**plain, **store, "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def missing(stage: str, kind: str) -> str:
    return f"error: data/{kind}/{READS[stage][0]} is not there: run `dvc repro`, or `dvc pull` to fetch it\n"


def written(folder: Path) -> list[str]:
    """Everything below a folder but the parameters and the store, where a run notes that it is at work."""
    return sorted(path.name for path in folder.iterdir() if path.name not in ("params.yaml", "store"))


@pytest.mark.parametrize("stage", READS)
def test_a_stage_on_an_empty_clone_refuses(stage: str, tmp_path: Path) -> None:
    result = run(tmp_path, stage)
    first = READS[stage][1].split()[0]
    assert (result.returncode, result.stdout, result.stderr) == (1, "", missing(stage, first))
    assert written(tmp_path) == []


@pytest.mark.parametrize("stage", ["cluster", "evaluate", "submit", "train"])
def test_each_folder_is_asked_for(stage: str, tmp_path: Path) -> None:
    """The last one that is missing is named, and the metric files of an earlier run stay as they were."""
    split, kinds = READS[stage]
    *there, last = kinds.split()
    for kind in there:
        (tmp_path / "data" / kind / split).mkdir(parents=True)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/val.json").write_text("{}")
    result = run(tmp_path, stage)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", missing(stage, last))
    assert (tmp_path / "metrics/val.json").read_text() == "{}"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == sorted(there)


@pytest.mark.parametrize("stage", ["ground", "cluster", "predict", "submit"])
def test_a_split_without_logs_is_no_fault(stage: str, tmp_path: Path) -> None:
    split, kinds = READS[stage]
    for kind in kinds.split():
        (tmp_path / "data" / kind / split).mkdir(parents=True)
    assert run(tmp_path, stage).returncode == 0
    output = {"ground": "ground", "cluster": "clusters", "predict": "predictions", "submit": "submission"}[stage]
    assert (tmp_path / "data" / output / split).is_dir()


def test_several_machines_are_not_called_for_nothing(tmp_path: Path) -> None:
    """The launcher would wait an hour for the others, or in a queue."""
    result = run(tmp_path, "train", SCENEFLOW_NODES="2", SCENEFLOW_LAUNCHER="torchrun")
    assert (result.returncode, result.stderr) == (1, missing("train", "frames"))
    assert not (tmp_path / "store/train").exists()


def test_the_labels_that_the_parameters_name_are_asked_for(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace("labels: clusters ", "labels: teacher ")
    (tmp_path / "params.yaml").write_text(text.replace("loss: seflow ", "loss: zeroflow "))
    parameters = read_parameters("train", Parameters, tmp_path / "params.yaml")
    for kind in ("frames", "ground", "clusters"):
        (tmp_path / "data" / kind / "train").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as there:
        there.chdir(tmp_path)
        with pytest.raises(InputError, match="^data/teacher/train is not there: run `dvc repro`, or `dvc pull`"):
            main(parameters)


def test_by_hand(tmp_path: Path) -> None:
    for kind in ("frames", "ground"):
        (tmp_path / kind / "val").mkdir(parents=True)
    require_folders(tmp_path, "val", ("frames", "ground"))
    assert split_tasks("val", ("frames", "ground"), tmp_path) == []
    with pytest.raises(InputError, match=f"^{tmp_path}/truth/val is not there: run `dvc repro`"):
        require_folders(tmp_path, "val", ("frames", "truth", "boxes"))
    with pytest.raises(InputError, match=f"^{tmp_path}/frames/test is not there"):
        split_tasks("test", ("ground",), tmp_path)  # frames say which logs there are


def test_the_table_has_every_folder_that_dvc_hands_over() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage, definition in stages.items():
        dependencies = [dep for dep in declared(definition).get("deps", []) if not is_code(dep)]
        folders = {dep.split("/")[1] for dep in dependencies if dep.startswith("data/") and dep.count("/") == 2}
        folders = {"clusters" if "$" in kind else kind for kind in folders if kind != "catalog"}
        asked = {*READS.get(stage, ("", ""))[1].split(), *NOT_NEEDED.get(stage, "").split()}
        assert folders == asked, stage
