# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The real `dvc repro` from end to end on a small simulated data set, and what it runs after a change."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline.project import SMALL, Project, make_project
from tests.pipeline.raw_logs import BOXES, write_log
from tests.pipeline.services import make_without_setup

AFTER_CLUSTERS = {"quality", "train", "predict@val", "predict@test", "evaluate", "submit", "render"}


@pytest.fixture(scope="module")
def project(tiny_project: Project) -> Project:
    """A project whose pipeline has run once and whose results are committed."""
    return tiny_project


def test_one_command_leads_to_metrics(project: Project) -> None:
    metrics = json.loads((project.folder / "metrics/val.json").read_text())
    assert {"protocol", "provenance", "model", "nearest", "ego_motion", "no_motion"} <= set(metrics)
    assert metrics["ego_motion"]["bucketed"]["dynamic"]["mean"] == pytest.approx(1.0, abs=1e-9)
    assert metrics["ego_motion"]["threeway"]["bs"] == pytest.approx(0.0, abs=1e-6)  # truth is stored in float32
    assert 0 < metrics["model"]["bucketed"]["dynamic"]["mean"]
    text = (project.folder / "metrics/val.json").read_text() + (project.folder / "dvc.lock").read_text()
    assert str(project.folder) not in text
    assert "NaN" not in text


def test_one_command_leads_to_a_report(project: Project) -> None:
    page = (project.folder / "report/index.html").read_text()
    metrics = json.loads((project.folder / "metrics/val.json").read_text())
    assert f'<data value="{metrics["model"]["bucketed"]["dynamic"]["mean"]!r}">' in page
    assert str(project.folder) not in page
    assert len(page) < 15_000_000
    names = {"frame-1", "frame-2", "labels"}  # one of each log: four sweeps are one scene
    assert {path.stem for path in (project.folder / "report/pictures").glob("*.png")} == names
    plots = project.run("dvc", "plots", "show", "--out", ".dvc/tmp/plots").stdout
    assert "error" not in plots.lower()
    shown = {path.name for path in (project.folder / ".dvc/tmp/plots/static").iterdir()}
    assert shown == {f"workspace_report_pictures_{name}.png" for name in names}


def test_a_second_run_does_nothing(project: Project) -> None:
    again = project.repro()
    assert again.ran == set()
    assert "Data and pipelines are up to date" in again.text
    assert project.status() == ""


def test_results_are_one_copy_on_disk(project: Project) -> None:
    """Store, output and cache are names of one file."""
    for path in (project.folder / "data/frames/train").glob("*.h5"):
        assert path.stat().st_nlink == 3
        assert path.stat().st_mode & 0o222 == 0


def test_recompute_takes_nothing_from_the_store(project: Project) -> None:
    """`dvc repro --force` runs the stage, whose logs come from the store; `make recompute` computes them."""
    assert "2/2 logs, 2 from the store" in project.repro("--force", "--single-item", "truth@val").text
    make_without_setup(project)
    again = project.run("make", "--silent", "recompute", "STAGE=truth@val").stdout
    assert "2/2 logs" in again and "from the store" not in again
    assert "every digest is the one that was committed" in again
    assert not (project.folder / ".scratch/recompute").exists()
    assert project.repro().ran == set()


def test_a_parameter_reruns_only_what_it_touches_and_back_again_nothing(project: Project) -> None:
    before = project.digests()
    project.set({"cluster.epsilon": 0.5})
    assert project.repro().ran == {"cluster", *AFTER_CLUSTERS}
    project.run("git", "checkout", "--quiet", "params.yaml")
    assert project.repro().ran == set()  # restored from the run cache
    assert project.digests() == before
    assert project.status() == ""


def test_nothing_that_the_lock_uses_is_pruned(project: Project) -> None:
    """What other values of parameters left goes; every result that lies in an output stays."""
    project.run("python", "-m", "stages.prune", "--unused", "--delete")
    assert "can go" in project.run("python", "-m", "stages.prune", "--unused").stdout
    assert "2/2 logs, 2 from the store" in project.repro("--force", "--single-item", "truth@val").text
    assert project.status() == ""


EVERY = ("train", "val", "test")
TOUCHES = {  # what a key touches: the stages that read it; the longest name that fits counts
    "data.source": {f"{stage}@{split}" for stage in ("simulate", "catalog", "ingest") for split in EVERY},
    "simulate": {f"simulate@{split}" for split in EVERY},
    **{f"simulate.{split}": {f"simulate@{split}"} for split in EVERY},
    **{stage: {f"{stage}@{split}" for split in EVERY} for stage in ("catalog", "ingest", "ground", "truth")},
    **{stage: {stage} for stage in ("dynamic", "cluster", "quality", "teach", "train", "evaluate", "submit", "render")},
    "predict": {"predict@val", "predict@test"},
}


def leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def other(value: Any) -> Any:
    """Another value of the same kind, sensible or not: DVC is asked, not the stage."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return [*value, *value] if isinstance(value, list) else f"{value} else"


def test_every_parameter_touches_what_the_table_says(project: Project) -> None:
    """Each key of params.yaml is changed alone, and DVC is asked which stages that leaves out of date."""
    from dvc.repo import Repo

    content = yaml.safe_load((project.folder / "params.yaml").read_text())
    wrong = {}
    for name, value in leaves(content):
        row = max((row for row in TOUCHES if f"{name}.".startswith(f"{row}.")), key=len)
        project.set({name: other(value)})
        with Repo(str(project.folder)) as repo:
            found = {str(stage).rpartition(":")[2] for stage in repo.status()}  # named by path from here
        if found != TOUCHES[row]:
            wrong[name] = found
        project.run("git", "checkout", "--quiet", "params.yaml")
    assert wrong == {}


def test_a_comment_in_the_code_of_a_stage_changes_nothing_after_it(project: Project) -> None:
    path = project.folder / "stages/labels/cluster.py"
    text = path.read_text()
    path.write_text(text + "# a remark\n")
    run = project.repro()
    assert "cluster" in run.ran
    assert "train" not in run.ran  # the labels came out the same
    assert "2 from the store" in run.text  # and were not computed again
    path.write_text(text)
    project.run("git", "checkout", "--quiet", "dvc.lock")


def test_a_loss_that_does_not_fit_the_labels_is_refused_before_anything_runs(project: Project) -> None:
    project.set({"train.loss": "deflow", "simulate.seed": 7})
    try:
        refused = project.repro(check=False)
        assert refused.returncode != 0
        assert refused.ran == {"simulate@train"}  # the first stage, which stopped before it did anything
        assert "parameter train.loss" in refused.text
        assert "Traceback" not in refused.text
    finally:
        project.run("git", "checkout", "--quiet", "params.yaml")
        project.run("dvc", "checkout", "--quiet", "--force")
    assert project.repro().ran == set()


def test_one_log_more_costs_one_log(project: Project) -> None:
    before = project.digests()
    project.set({"simulate.val.logs": 3})
    grown = project.repro()
    assert {"simulate@val", "truth@val", "predict@val", "evaluate"} <= grown.ran
    assert not any(stage.endswith("@train") or stage == "train" for stage in grown.ran)
    for stage in ("simulate", "ingest", "ground", "truth"):
        assert f"{stage} 3 logs" in grown.text
    assert grown.text.count("3/3 logs, 2 from the store") >= 4
    project.run("git", "checkout", "--quiet", "params.yaml")
    project.repro()
    assert project.digests() == before


def test_what_one_clone_pushed_another_need_not_run(project: Project, tmp_path: Path) -> None:
    """Also what was only tried: another parameter, with the results of its training in the shared run cache."""
    project.run("dvc", "remote", "add", "--local", "--default", "share", str(tmp_path / "share"))
    project.set({"cluster.epsilon": 0.5})
    assert "train" not in project.repro().ran  # tried by the test above
    project.run("dvc", "push", "--quiet", "--run-cache")  # takes the artifacts of this state alone
    project.run("git", "checkout", "--quiet", "params.yaml")
    project.repro()
    project.run("dvc", "push", "--quiet", "--run-cache")
    project.run("git", "clone", "--quiet", str(project.folder), str(tmp_path / "clone"))
    colleague = Project(tmp_path / "clone", project.environment)
    colleague.run("dvc", "remote", "add", "--local", "--default", "share", str(tmp_path / "share"))
    colleague.run("dvc", "pull", "--quiet", "--run-cache")
    assert colleague.repro().ran == set()
    assert colleague.digests() == project.digests()
    colleague.set({"cluster.epsilon": 0.5})
    ran = colleague.repro("--pull").ran
    assert ran <= {"quality", "evaluate"}  # metric files lie in git and not in the cache: these are made again
    project.run("dvc", "remote", "remove", "--local", "share")


def test_training_and_scores_need_no_more_than_a_gpu_machine_has(project: Project, tmp_path: Path) -> None:
    """Without DVC and the packages of the data stages: the same weights, predictions and metrics."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "for name in ('dvc', 'dvclive', 'polars', 'av2', 'hdbscan', 'dufomap', 'pypatchworkpp'):\n"
        "    sys.modules[name] = None\n"
    )
    before = project.digests()
    lean = {"PYTHONPATH": str(tmp_path), "SCENEFLOW_STORE": str(tmp_path / "store")}
    for command in (["train"], ["predict", "--split", "val"], ["evaluate"]):
        project.run("python", "-m", f"stages.{command[0]}", *command[1:], **lean)
    after = project.digests()
    for name in before:
        if name.startswith(("data/weights", "data/predictions/val", "metrics/")):
            assert after[name] == before[name], name
    project.run("dvc", "checkout", "--quiet", "--force")
    assert project.digests() == before


def test_from_scratch_killed_halfway_with_other_workers_gives_the_same_bytes(project: Project) -> None:
    """Store, cache and outputs are thrown away; the stage and DVC are killed with -9 while logs are in work."""
    before = project.digests()
    for name in (".scratch", ".dvc/cache", ".dvc/tmp", "data", "metrics", "report"):
        shutil.rmtree(project.folder / name)
    (project.folder / "dvc.lock").unlink()
    environment = {**project.environment, "SCENEFLOW_WORKERS": "1"}
    killed = subprocess.Popen(
        ["dvc", "repro"], cwd=project.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    store = project.folder / ".scratch/simulate"
    deadline = time.monotonic() + 120
    while all(path.parent.suffix == ".partial" for path in store.glob("*/manifest.json")):  # not yet an entry
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    resumed = project.repro(SCENEFLOW_WORKERS="1")
    assert "from the store" in resumed.text
    assert project.digests() == before
    assert project.status() == ""


def test_real_logs_by_one_parameter(tmp_path: Path) -> None:
    """AV2's layout with an empty test split and a train log without boxes; only what needs truth stops."""
    root = tmp_path / "av2"
    (write_log(root, "train") / BOXES).unlink()
    write_log(root, "val")
    project = make_project(tmp_path / "project", {**SMALL, "data.source": "av2"})
    missing = project.repro("catalog@train", check=False)
    assert missing.returncode != 0
    assert "set AV2_ROOT" in missing.text
    run = project.repro("quality", "truth@val", "ground@test", AV2_ROOT=str(root))
    assert "split test has no logs" in run.text
    labels = json.loads((project.folder / "metrics/labels.json").read_text())
    assert labels["frames"] == 4
    assert "precision" not in labels
    project.set({"train.labels": "truth", "train.loss": "deflow"})
    stopped = project.repro("train", check=False, AV2_ROOT=str(root))
    assert stopped.returncode != 0
    assert "11111111-2222-3333-4444-555555555555" in stopped.text
    assert "Traceback" not in stopped.text
