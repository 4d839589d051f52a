# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Experiments of the real DVC: several at once, in workspaces of their own, one store for all."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.project import SMALL, Project, make_project
from tests.pipeline.raw_logs import write_log
from tests.pipeline.services import make_without_setup

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EPSILONS, LENGTHS = (0.5, 0.7), (0.0, 0.05)
LOGS = {"simulate": 5, "ingest": 5, "ground": 5, "truth": 5, "dynamic": 2}  # shared by all four experiments
OWN = {"cluster": 2 * len(EPSILONS), "quality": 2 * len(EPSILONS), "predict": 3 * 4}  # by parameters


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A clean checkout in which nothing ever ran: no artifact, no store, no lock."""
    project = make_project(tmp_path_factory.mktemp("project"), SMALL)
    make_without_setup(project)
    yield project
    project.run("dvc", "queue", "stop", "--kill")


@pytest.fixture(scope="module")
def queued(project: Project) -> dict[str, Any]:
    """Four experiments, two at once, and the rows of `dvc exp show` by name."""
    sweep = [f"cluster.epsilon={','.join(map(str, EPSILONS))}", f"predict.minimum_length={','.join(map(str, LENGTHS))}"]
    project.run("dvc", "exp", "run", "--queue", *(part for one in sweep for part in ("-S", one)))
    project.run("dvc", "queue", "start", "--jobs", "2")
    deadline = time.monotonic() + 1500
    while "Queued" in (status := states(project)) or "Running" in status:
        assert time.monotonic() < deadline, status
        time.sleep(2)
    assert status == {"Success": 4}, project.run("dvc", "queue", "status").stdout
    rows: list[dict[str, Any]] = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    baseline = next(row for row in rows if row["rev"] != "workspace")
    return {one["revs"][0]["name"]: one["revs"][0] for one in baseline["experiments"]}


def states(project: Project) -> Counter[str]:
    table = project.run("dvc", "queue", "status").stdout
    return Counter(re.findall(r"\b(Queued|Running|Success|Failed)\b", table.split("Worker status")[0]))


def parameters(row: dict[str, Any]) -> tuple[float, float]:
    found = row["data"]["params"]["params.yaml"]["data"]
    return found["cluster"]["epsilon"], found["predict"]["minimum_length"]


def computed(text: str) -> Counter[str]:
    """Logs that were computed and not found in the store, by step, from the last state of each stage's bar."""
    found: Counter[str] = Counter()
    for stage in text.split("Running stage ")[1:]:
        states = re.findall(r"(\w+) \d+ logs?: 100%[^\r\n]*?(\d+)/\d+ logs(?:, (\d+) from the store)?", stage)
        found.update({step: int(logs) - int(from_store or 0) for step, logs, from_store in states})
    return found


def test_every_experiment_has_its_row_and_its_numbers(project: Project, queued: dict[str, Any]) -> None:
    assert {parameters(row) for row in queued.values()} == {(a, b) for a in EPSILONS for b in LENGTHS}
    for row in queued.values():
        committed = json.loads(project.run("git", "show", f"{row['rev']}:metrics/val.json").stdout)
        shown = row["data"]["metrics"]["metrics/val.json"]["data"]
        assert shown["model"]["bucketed"] == committed["model"]["bucketed"]
    made = [row["data"]["metrics"]["metrics/val.json"]["data"]["provenance"] for row in queued.values()]
    assert len({one["weights_digest"] for one in made}) == len(EPSILONS)


def test_what_experiments_share_was_computed_once(project: Project, queued: dict[str, Any]) -> None:
    """Two workers reach the same logs at the same time: one computes, the other waits and finds the result."""
    done = sum((computed(project.run("dvc", "queue", "logs", name).stdout) for name in queued), Counter[str]())
    assert {step: done[step] for step in (*LOGS, *OWN)} == {**LOGS, **OWN}
    for step in LOGS:
        entries = [path for path in (project.folder / ".scratch" / step).iterdir() if path.is_dir()]
        assert len(entries) == LOGS[step], step


def test_the_same_parameters_elsewhere_give_the_same_numbers(
    project: Project, queued: dict[str, Any], tmp_path: Path
) -> None:
    """In a project that knows nothing of the queue, by plain `dvc repro`."""
    name, row = next((name, row) for name, row in queued.items() if parameters(row) == (0.5, 0.05))
    alone = make_project(tmp_path / "alone", {**SMALL, "cluster.epsilon": 0.5, "predict.minimum_length": 0.05})
    alone.repro("evaluate", "quality")
    for file in ("metrics/val.json", "metrics/labels.json"):
        assert project.run("git", "show", f"{row['rev']}:{file}").stdout == (alone.folder / file).read_text()


def test_a_temporary_experiment_leaves_the_workspace_alone(project: Project, queued: dict[str, Any]) -> None:
    before = project.status()
    run = project.run("dvc", "exp", "run", "--temp", "--name", "apart", "-S", "predict.minimum_length=0.1")
    assert project.status() == before
    assert not (project.folder / "metrics/val.json").exists()
    done = computed(run.stdout)
    assert done["predict"] == 3
    assert not any(done[step] for step in (*LOGS, "cluster", "quality"))
    explained = project.run("python", "-m", "stages.explain", "--rev", "apart").stdout
    assert "predict.minimum_length: 0.1" in explained
    assert "dvc exp apply apart" in explained


def test_the_table_of_experiments_is_narrow(project: Project, queued: dict[str, Any]) -> None:
    """What `make experiments` shows: the headline first, then the parameters that differ, nothing else."""
    lines = project.run("make", "--silent", "experiments", "FORMAT=--csv").stdout.splitlines()
    numbers = ["model.bucketed.dynamic.mean", "model.threeway.mean", "model.threeway.dynamic_iou"]
    changed = ["cluster.epsilon", "predict.minimum_length"]
    assert lines[0].split(",") == ["Experiment", "Created", "State", *numbers, *changed]
    assert {line.split(",")[0] for line in lines[1:]} >= set(queued)


def test_raw_data_outside_git_is_found_from_a_temporary_workspace(tmp_path: Path) -> None:
    """Named relative to the project, as in compute.yaml; the workspace lies elsewhere."""
    root = tmp_path / "av2"
    for split in ("train", "val"):
        write_log(root, split)
    project = make_project(tmp_path / "project", SMALL)
    (project.folder / "compute.yaml").write_text("av2_root: ../av2\n")
    project.run("dvc", "exp", "run", "--temp", "--name", "real", "-S", "data.source=av2", "quality")
    labels = json.loads(project.run("git", "show", f"{revision(project, 'real')}:metrics/labels.json").stdout)
    assert labels["frames"] == 4


def revision(project: Project, name: str) -> str:
    listed = project.run("git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").stdout
    return next(line.split()[0] for line in listed.splitlines() if line.endswith(f"/{name}"))
