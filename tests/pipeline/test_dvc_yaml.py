# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""dvc.yaml declares what the stages import, and every stage has its module, its section and its description."""

import importlib

import pytest
import yaml

from stages.pipeline.code import ROOT
from tests.pipeline.dependencies import code_dependencies, declared, is_code

CONTENT = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = CONTENT["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_imports(stage: str) -> None:
    """A forgotten or superfluous dependency fails here; `make deps` writes them."""
    found = {dep for dep in declared(STAGES[stage]).get("deps", []) if is_code(dep)}
    assert found == code_dependencies(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_module_section_and_description(stage: str) -> None:
    body = declared(STAGES[stage])
    assert importlib.import_module(f"stages.{stage}").Parameters
    assert stage in yaml.safe_load((ROOT / "params.yaml").read_text())
    assert any(str(name).split(".")[0] == stage for name in body["params"])
    assert body["cmd"].startswith(f"python -m stages.{stage}")
    assert body["desc"]


@pytest.mark.parametrize("stage", STAGES)
def test_no_output_persists_and_metrics_lie_in_git(stage: str) -> None:
    body = declared(STAGES[stage])
    assert "persist" not in str(body.get("outs"))
    for metric in body.get("metrics", []):
        assert list(metric.values()) == [{"cache": False}]


def test_every_stage_module_is_a_stage() -> None:
    """A module in stages/ is either in dvc.yaml or a command that a person runs."""
    commands = {"check", "compare", "download", "estimate", "explain", "gate", "interchange", "prune", "push"}
    commands |= {"recipe", "verify", "view", "weights"}
    modules = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert modules - commands == set(STAGES)


def test_the_table_of_experiments_knows_every_section() -> None:
    """A parameter of a section that the Makefile does not name would be missing from `make experiments`."""
    text = (ROOT / "Makefile").read_text()
    sections = next(line for line in text.splitlines() if line.startswith("SECTIONS := ")).split(" := ")[1]
    assert sections.split("|") == list(yaml.safe_load((ROOT / "params.yaml").read_text()))
