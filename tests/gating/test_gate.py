# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The gate in real git repositories: what passes, what fails, and what it says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.errors import InputError
from stages.gate import gate
from stages.gating.judge import FAILING
from stages.gating.rules import read_rules
from stages.pipeline.code import ROOT
from stages.pipeline.digest import value_digest

RULES = """\
measured: three seeds of a test
rules:
  - {file: metrics/val.json, metric: model.mean, better: lower, absolute: 0.02, relative: 0.0}
  - {file: metrics/val.json, metric: model.recall, better: higher, absolute: 0.0, relative: 0.1}
declared: []
"""
BASE: dict[str, Any] = {
    "protocol": {"frames": "all", "catalog": "a"},
    "provenance": {"weights": "1"},
    "model": {"mean": 0.5, "recall": 0.8},
}


def git(folder: Path, *arguments: str) -> None:
    identity = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **identity}, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose one commit holds BASE."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/gate.yaml").write_text(RULES)
    write(tmp_path, BASE)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "base")
    return tmp_path


def write(folder: Path, content: object) -> None:
    (folder / "metrics/val.json").write_text(json.dumps(content))


def verdicts(folder: Path) -> dict[str, str]:
    return {line.metric: line.verdict for line in gate("HEAD", folder)[0]}


def changed(**model: object) -> dict[str, Any]:
    return {**BASE, "model": {**BASE["model"], **model}}


@pytest.mark.parametrize(
    ("content", "mean", "recall"),
    [
        (BASE, "same", "same"),
        (changed(mean=0.4, recall=0.9), "better", "better"),
        (changed(mean=0.52, recall=0.72), "within slack", "within slack"),
        (changed(mean=0.5201), "worse", "same"),
        (changed(recall=0.7199), "same", "worse"),
        (changed(mean=float("nan")), "failed", "same"),
        (changed(recall=None), "same", "failed"),
        (changed(mean="0.5"), "failed", "same"),
        (changed(mean=True), "failed", "same"),
        ({**BASE, "provenance": {"weights": "2"}}, "same", "same"),
    ],
)
def test_verdicts(project: Path, content: object, mean: str, recall: str) -> None:
    write(project, content)
    assert verdicts(project) == {"model.mean": mean, "model.recall": recall}


def test_a_number_that_vanished_fails(project: Path) -> None:
    content = changed()
    del content["model"]["mean"]
    write(project, content)
    assert verdicts(project)["model.mean"] == "failed"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_text("{"), "cannot be parsed"),
        (lambda file: file.write_text("[1]"), "not a mapping"),
    ],
)
def test_a_file_that_is_no_metric_file_fails(project: Path, damage: Any, words: str) -> None:
    damage(project / "metrics/val.json")
    lines, table = gate("HEAD", project)
    assert [line.verdict for line in lines] == ["failed"]
    assert words in table


def test_a_changed_protocol_fails_until_it_is_declared(project: Path) -> None:
    content = {**changed(mean=0.9), "protocol": {"frames": "official", "catalog": "a"}}
    write(project, content)
    lines, table = gate("HEAD", project)
    assert lines[0].verdict == "failed"
    assert "protocol.frames from 'all' to 'official'" in table
    digest = value_digest(content["protocol"])[:16]
    assert f"declare protocol {digest}" in table
    declared = RULES.replace("[]", f"[{{file: metrics/val.json, protocol: '{digest}', why: leaderboard frames}}]")
    (project / "metrics/gate.yaml").write_text(declared)
    lines, table = gate("HEAD", project)
    assert [line.verdict for line in lines] == ["base reset"] * 3
    assert "leaderboard frames" in table


def test_a_file_that_the_base_lacks_is_new(project: Path) -> None:
    git(project, "rm", "--quiet", "--cached", "metrics/val.json")
    git(project, "commit", "--quiet", "--message", "none")
    assert verdicts(project) == {"model.mean": "new", "model.recall": "new"}


def test_a_base_that_is_not_there_is_one_sentence(project: Path) -> None:
    with pytest.raises(InputError, match="revision 'nowhere' is not in this repository; fetch it first"):
        gate("nowhere", project)


def test_faulty_rules_are_named(project: Path) -> None:
    path = project / "metrics/gate.yaml"
    path.write_text(RULES.replace("lower", "smaller"))
    with pytest.raises(InputError, match=r"gate.yaml.rules\[0\].better must be one of lower, higher"):
        read_rules(path)
    path.write_text(RULES.replace("0.02", "-1"))
    with pytest.raises(InputError, match=r"absolute must not be negative"):
        read_rules(path)


def run(project: Path, base: str = "HEAD") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.gate", "--base", base],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("mean", "base", "code"), [(0.5, "HEAD", 0), (0.6, "HEAD", 1), (0.5, "nowhere", 2)])
def test_exit_codes(project: Path, mean: float, base: str, code: int) -> None:
    write(project, changed(mean=mean))
    result = run(project, base)
    assert result.returncode == code
    assert ("| `metrics/val.json` model.mean |" in result.stdout) == (code < 2)
    assert result.stderr.startswith("error: ") == (code == 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<<<<<<< HEAD\ntrain: {}\n", "params.yaml is not valid YAML: "),
        ("\xff", "params.yaml is not valid YAML: "),
        ("[1]", "params.yaml must hold one mapping of sections, not list"),
        ("quality: {moving_speed: 0.5}", "parameter quality.purity is missing"),
        ("quality: {moving_speed: -1.0, purity: 0.9}", "parameter quality.moving_speed must be positive, not -1.0"),
        ("qualty: {}", "params.yaml has a section 'qualty' that no stage reads"),
        (None, "params.yaml cannot be read: Is a directory"),
    ],
)
def test_parameters_that_no_run_takes_are_not_judged(project: Path, text: str | None, sentence: str) -> None:
    """Though every number is the base's: nobody knows what they should be of."""
    file = project / "params.yaml"
    file.write_bytes(text.encode("latin-1")) if text is not None else file.mkdir()
    result = run(project)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {sentence}") and result.stderr.count("\n") == 1


def test_the_projects_own_parameters_are_judged(project: Path) -> None:
    shutil.copy(ROOT / "params.yaml", project)
    assert run(project).returncode == 0


def test_the_projects_own_rules_name_numbers_that_exist() -> None:
    """A rule for a number that no run can write would fail every pull request."""
    rules = read_rules(ROOT / "metrics/gate.yaml")
    lines, _ = gate("HEAD", ROOT)
    assert {rule.file for rule in rules.rules} >= {"metrics/val.json", "metrics/labels.json"}
    assert not [line for line in lines if line.verdict in FAILING and "missing" in line.remark]
