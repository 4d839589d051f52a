# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that other parameters made are told in a line of the gate's table, on a lock written out by hand."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from models.errors import InputError
from stages.gate import gate
from stages.gating.freshness import stale

METRICS = '{"protocol": {}, "mean": 0.5}'
RULES = """\
measured: by hand
rules:
  - {file: metrics/val.json, metric: mean, better: lower, absolute: 0.02, relative: 0.0}
declared: []
"""
PARAMETERS = (
    "train: {epochs: 12, rate: 2e-06, range: [1.0, 2.0], zip: null}\nevaluate: {frames: all}\nrender: {pixels: 1}\n"
)
LOCK = f"""\
schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    deps:
    - {{path: stages/train.py, hash: md5, md5: aa}}
    params:
      params.yaml:
        train: {{epochs: 12, rate: 2e-06, range: [1.0, 2.0], zip: null}}
    outs:
    - {{path: data/weights, hash: md5, md5: weights-1.dir}}
  evaluate:
    cmd: python -m stages.evaluate
    deps:
    - {{path: data/weights, hash: md5, md5: weights-1.dir}}
    params:
      params.yaml:
        evaluate.frames: all
    outs:
    - {{path: metrics/val.json, hash: md5, md5: {hashlib.md5(METRICS.encode()).hexdigest()}}}
  render:
    cmd: python -m stages.render
    params:
      params.yaml:
        render: {{pixels: 2}}
    outs:
    - {{path: report, hash: md5, md5: bb.dir}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "metrics").mkdir()
    for name, text in {
        "metrics/gate.yaml": RULES,
        "metrics/val.json": METRICS,
        "params.yaml": PARAMETERS,
        "dvc.lock": LOCK,
    }.items():
        (tmp_path / name).write_text(text)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "base"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@test"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_the_lock_says_is_not_stale(project: Path) -> None:
    """Whatever other stages ran with."""
    assert stale("metrics/val.json", project) == []
    assert "stale" not in [line.verdict for line in gate("HEAD", project)[0]]


@pytest.mark.parametrize(
    ("file", "old", "new", "remark"),
    [
        ("params.yaml", "epochs: 12", "epochs: 50", "other parameters than params.yaml has: train.epochs 12 → 50;"),
        ("params.yaml", "zip: null", "more: 1", "other parameters than params.yaml has: train.more;"),
        ("params.yaml", "2e-06", "2e-05", "other parameters than params.yaml has: train.rate 2e-06 → 2e-05;"),
        ("params.yaml", "frames: all", "frames: official", "has: evaluate.frames;"),
        ("metrics/val.json", "0.5", "0.4", "is not the file that stage evaluate wrote by dvc.lock;"),
        ("dvc.lock", "md5: weights-1.dir}\n  e", "md5: weights-2.dir}\n  e",
         "is older than dvc.lock: evaluate read data/weights weights-1., which is weights-2. by now;"),
        ("dvc.lock", "schema", "<<<<<<< HEAD\nschema", "may be out of date: "),
        ("dvc.lock", "stages:", "steps:", "may be out of date: dvc.lock is damaged"),
    ],
)  # fmt: skip
def test_stale_numbers_are_told_in_one_line_and_fail_nothing(
    project: Path, file: str, old: str, new: str, remark: str
) -> None:
    replace(project / file, old, new)
    lines, table = gate("HEAD", project)
    assert [line.verdict for line in lines] in (["stale", "same"], ["stale", "better"])
    (told,) = [line for line in table.splitlines() if line.startswith("- ⚠️ `metrics/val.json` ")]
    assert remark in told
    assert told.endswith("; run `dvc repro`")
    assert "### Metric gate: passed" in table


@pytest.mark.parametrize(("old", "new"), [("{frames", "{{frames"), ("evaluate: {frames: all}\n", "<<<<<<< HEAD\n")])
def test_parameters_that_cannot_be_read_are_no_warning(project: Path, old: str, new: str) -> None:
    replace(project / "params.yaml", old, new)
    with pytest.raises(InputError, match=r"params\.yaml is not valid YAML: "):
        gate("HEAD", project)


def test_without_a_lock_nothing_is_said(project: Path) -> None:
    (project / "dvc.lock").unlink()
    assert stale("metrics/val.json", project) == []
    assert stale("metrics/other.json", project) == []
