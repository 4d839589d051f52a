# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""docs/compute.md names every setting of compute.yaml and every variable that the code knows, with their defaults."""

import ast
import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from stages.pipeline.code import PACKAGES, ROOT
from stages.pipeline.compute import _CHOICES, _SLURM_WORKERS, _VARIABLES, Compute, SlurmSettings, compute
from tests.docs.pages import PAGES, blocks, prose

PAGE = ROOT / "docs/compute.md"
_OURS = re.compile(r"SCENEFLOW_[A-Z0-9_]+")


def rows(count: int) -> dict[str, list[str]]:
    """Rows of the tables with so many columns, their heads left out, by the name in the first."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for _, line in prose(PAGE) if line[:1] == "|"]
    names = [(row[0].strip("`"), row[1:]) for row in cells if len(row) == count and row[0].startswith("`")]
    found = dict(names)
    assert len(found) == len(names), "a name stands there twice"
    return found


@pytest.fixture
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without compute.yaml, on a machine without variables."""
    for name in (*_VARIABLES.values(), "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_written(value: object, project: Path) -> str:
    """A value of `Compute` as compute.yaml has it, empty for what has none."""
    if isinstance(value, Path):
        return str(value.relative_to(project))
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None or isinstance(value, dict) else str(value)


def test_every_setting_is_there_with_variable_and_default(nothing_set: Path) -> None:
    table = rows(4)
    assert set(table) == {field.name for field in fields(Compute)}
    assert {name: row[0].strip("`") for name, row in table.items() if row[0]} == _VARIABLES
    defaults = {field.name: as_written(getattr(compute(), field.name), nothing_set) for field in fields(Compute)}
    defaults |= {"workers": "what the machine carries", "slurm": ""}
    assert {name: row[1].strip("`") for name, row in table.items()} == defaults
    assert f"{_SLURM_WORKERS} with `executor: slurm`" in table["workers"][2]
    assert all(row[2] for row in table.values())


def test_every_choice_is_there() -> None:
    told = {name: set(re.findall(r"`(\w+)`", row[2])) for name, row in rows(4).items()}
    assert {name: sorted(set(choices) - told[name]) for name, choices in _CHOICES.items()} == {n: [] for n in _CHOICES}


def test_every_setting_of_slurm_is_there_with_its_default() -> None:
    own = {name: str(value) for name, value in asdict(SlurmSettings()).items() if name != "options"}
    found = {name.removeprefix("slurm."): row[0].strip("`") for name, row in rows(3).items() if "slurm." in name}
    assert found == own


def variables_of_the_code() -> set[str]:
    """Names of variables of our own among the constants of the code: what is read, and what is handed on."""
    trees = [ast.parse(file.read_text()) for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and _OURS.fullmatch(text)}


def test_every_variable_is_there() -> None:
    known = variables_of_the_code()
    assert {"SCENEFLOW_WORKERS", "SCENEFLOW_KERNEL_CACHE", "SCENEFLOW_LAUNCH"} <= known
    assert set(_OURS.findall(PAGE.read_text())) == known


def test_no_page_names_a_variable_that_nothing_reads() -> None:
    known = variables_of_the_code()
    wrong = {page.name: set(_OURS.findall(page.read_text())) - known for page in PAGES}
    assert {page: names for page, names in wrong.items() if names} == {}


def test_the_example_is_taken(nothing_set: Path) -> None:
    (example,) = [block for block in blocks(PAGE) if block.kind == "yaml"]
    (nothing_set / "compute.yaml").write_text("\n".join(example.lines))
    found = compute()
    assert (found.workers, found.device, found.devices, found.logger) == (12, "cuda", 2, "tensorboard")
    assert (found.store, found.av2_root) == (Path("/fast/sceneflow"), Path("/data/av2"))


def test_environment_file_default_in_this_order(nothing_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compute().nodes == 1
    (nothing_set / "compute.yaml").write_text("nodes: 2\n")
    assert compute().nodes == 2
    monkeypatch.setenv("SCENEFLOW_NODES", "")
    assert compute().nodes == 2
    monkeypatch.setenv("SCENEFLOW_NODES", "3")
    assert compute().nodes == 3
