# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The workflow for GitHub and the one that the docs give for GitLab: their shape, and their commands run for real."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.pipeline.code import ROOT

WORKFLOW = ROOT / ".github/workflows/pipeline.yaml"
RESERVED = {"image", "variables", "cache", "stages", "default", "include", "workflow"}  # in a GitLab file, no jobs


def workflow() -> dict[Any, Any]:
    content = yaml.safe_load(WORKFLOW.read_text())
    assert isinstance(content, dict)
    return content


def gitlab() -> dict[str, Any]:
    block = re.search(r"## GitLab\n+```yaml\n(.*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL)
    assert block
    content = yaml.safe_load(block[1])
    assert isinstance(content, dict)
    return content


def steps(job: str) -> list[dict[str, Any]]:
    return list(workflow()["jobs"][job]["steps"])


def targets(script: str) -> set[str]:
    """Names after `make` that are no options and no settings."""
    lines = [re.split(r"[A-Z]+=|\|", line.split("make ", 1)[1])[0] for line in script.splitlines() if "make " in line]
    return {word for line in lines for word in line.split() if not word.startswith("-")}


def test_the_workflow_has_the_shape_that_github_reads() -> None:
    content = workflow()
    assert set(content) == {"name", True, "permissions", "concurrency", "jobs"}  # YAML 1.1 reads `on` as true
    assert set(content[True]) == {"push", "pull_request"}
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        assert set(job) <= {"runs-on", "timeout-minutes", "strategy", "steps", "needs", "env"}
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert set(step) <= {"name", "uses", "with", "run", "env", "if", "id"}
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"])


def test_the_workflow_runs_test_lint_check_and_gate_with_the_whole_history() -> None:
    made = {job: [targets(step["run"]) for step in steps(job) if "run" in step] for job in workflow()["jobs"]}
    assert made == {"test": [{"test"}, {"lint"}], "numbers": [{"setup"}, {"check"}, {"gate"}]}
    assert [step["with"] for step in steps("numbers") if "checkout" in step.get("uses", "")] == [{"fetch-depth": 0}]
    versions = workflow()["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12"]  # text: 3.10 as a number would be 3.1
    assert 'requires-python = ">=3.11,<3.13"' in (ROOT / "pyproject.toml").read_text()


def test_gitlab_runs_the_same() -> None:
    jobs = {name: job for name, job in gitlab().items() if name not in RESERVED}
    assert {name: targets("\n".join(job["script"])) for name, job in jobs.items()} == {
        "test": {"test", "lint"},
        "numbers": {"setup", "check", "gate"},
    }
    assert gitlab()["variables"]["GIT_DEPTH"] == 0


def test_every_target_exists() -> None:
    scripts = [step["run"] for job in workflow()["jobs"] for step in steps(job) if "run" in step]
    scripts += [line for name, job in gitlab().items() if name not in RESERVED for line in job["script"]]
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set().union(*map(targets, scripts)) <= known


@pytest.fixture
def pull_request(tmp_path: Path) -> Path:
    """A repository with this project's numbers and rules, and its tools set up."""
    for name in ("Makefile", "pyproject.toml", "metrics/gate.yaml", "metrics/val.json", "metrics/labels.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()
    for command in (["init", "-q"], ["add", "Makefile", "pyproject.toml", "metrics"], ["commit", "-qm", "base"]):
        subprocess.run(["git", *command], cwd=tmp_path, env=environment(), check=True)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    identity = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **identity, "PATH": path, "PYTHONPATH": str(ROOT), **more}


@pytest.mark.parametrize(("change", "verdict"), [(0.0, "passed"), (0.1, "failed")])
def test_the_step_of_the_gate_writes_the_summary_and_fails_with_it(
    pull_request: Path, tmp_path: Path, change: float, verdict: str
) -> None:
    """The step's own script, in the shell that GitHub uses."""
    metrics = json.loads((pull_request / "metrics/val.json").read_text())
    metrics["model"]["bucketed"]["dynamic"]["mean"] += change
    (pull_request / "metrics/val.json").write_text(json.dumps(metrics))
    step = next(step for step in steps("numbers") if "gate" in step.get("run", ""))
    summary = tmp_path / "summary.md"
    shell = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
    variables = environment(BASE="HEAD", GITHUB_STEP_SUMMARY=str(summary))
    done = subprocess.run(shell, cwd=pull_request, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (verdict == "passed"), done.stderr
    assert summary.read_text().startswith(f"### Metric gate: {verdict}")
    assert "| `metrics/val.json` model.bucketed.dynamic.mean |" in summary.read_text()
