# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Every command in README and docs is run, or checked by the parser of its program."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.folder.adapter import Folder
from stages.frames.ingest import ingest_log
from stages.pipeline.code import ROOT
from tests.docs.commands import PARSED, RUN, reason
from tests.docs.pages import PAGES, Block, Command, blocks, commands
from tests.docs.parsing import VARIABLES, fault, recipe
from tests.folder.logs import folder_entry, folder_ingest
from tests.pipeline.project import Project

COMMANDS = [command for page in PAGES for command in commands(page)]
PYTHON = [block for page in PAGES for block in blocks(page) if block.kind == "python"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_known_and_parses(page: Path) -> None:
    wrong = []
    for command in commands(page):
        if command.text not in RUN and reason(command.text) is None:
            wrong.append(
                f"{command.where}: {command.text!r} is in no table of tests/docs/commands.py; put it into RUN or "
                "PARSED, or mark a block that holds no commands as ```text"
            )
        elif found := fault(command.words):
            wrong.append(f"{command.where}: {command.text!r}: {found}")
        wrong += [f"{command.where}: nothing reads {name}" for name in command.variables if name not in VARIABLES]
    assert not wrong, "\n" + "\n".join(wrong)


def test_what_is_listed_to_run_stands_in_a_page() -> None:
    assert sorted(set(RUN) - {command.text for command in COMMANDS}) == []


@pytest.fixture
def workspace(tiny_project: Project) -> Iterator[Project]:
    """The small project; what a command leaves there is taken away again."""
    yield tiny_project
    for name in ("scenes", "there"):
        shutil.rmtree(tiny_project.folder / name, ignore_errors=True)
    assert tiny_project.status() == ""


def test_commands_that_run(workspace: Project) -> None:
    """In the order of RUN: what writes before what reads."""
    for text in RUN:
        words = text.split()
        lines = [text]
        if words[0] == "make":
            given = dict(word.split("=") for word in words if "=" in word)
            lines = recipe(words[1], {name: "HEAD" if name == "BASE" else value for name, value in given.items()})
        for line in lines:
            result = workspace.run("bash", "-c", line, check=False)
            assert result.returncode == 0, f"{text}: {line}\n{result.stdout[-3000:]}"
            assert "Running stage" not in result.stdout, f"{text} should find nothing to do"


def test_python_blocks(workspace: Project, tmp_path: Path) -> None:
    """Each page's example runs: the reader in the small project, the writer of a folder log in an empty one."""
    assert [block.page.name for block in PYTHON] == ["data-formats.md", "your-data.md"]
    for block, folder in zip(PYTHON, (workspace.folder, tmp_path), strict=True):
        workspace.run("python", "-c", f"import os; os.chdir({str(folder)!r})\n" + "\n".join(block.lines))
    log = tmp_path / "mine/train/monday-01"
    import json

    outputs = {kind: tmp_path / "out" / kind for kind in ("frames", "boxes", "maps")}
    arguments = {"entry": json.dumps(folder_entry(log)), "digest": "full"}
    ingest_log(log.name, {"raw": log}, outputs, folder_ingest(), arguments)
    from models.data.logfile import LogFrames

    frames = LogFrames.open(outputs["frames"])
    assert frames.ego1_SE3_ego0(0)[:3, 3].tolist() == [-1.0, 0.0, 0.0]  # what stands still comes 1 m nearer
    assert list(Folder().logs(tmp_path / "mine", "train")) == ["monday-01"]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("python -m stages.gate --bse main", "unrecognized arguments"),
        ("python -m stages.gaet", "there is no module stages.gaet"),
        ("python -m stages.evaluation.scene", "parses no arguments"),
        ("python -m pytest -m goldne tests", "no marker goldne"),
        ("python -m pytest tests/none.py", "there is no tests/none.py"),
        ("dvc exp rnu", "dvc does not take"),
        ("make rpero", "no target rpero"),
        ("make gate BASSE=main", "reads no BASSE"),
        ("export AV3_ROOT=/data", "nothing reads the variable AV3_ROOT"),
        ("sed -i s/source:-simulated/x/ params.yaml", "does not hold"),
        (".venv/bin/pip install -e .[cuda14]", "no extra cuda14"),
        ("conda env create", "no program that this test can parse"),
    ],
)
def test_a_wrong_command_is_told(line: str, part: str) -> None:
    """The test itself: a slip in a page must not pass."""
    assert part in str(fault(tuple(line.split())))


def test_an_unknown_command_is_told() -> None:
    assert reason("dvc destroy") is None
    assert reason("dvc exp run -S a=1") == PARSED["dvc exp run"]
    assert reason("make explain REV=x") == PARSED["make explain REV="]


def test_parts_of_a_line() -> None:
    page = ROOT / "docs/faq.md"
    block = Block(page, 1, "", ("",))
    assert block.where == "docs/faq.md:1"
    from tests.docs.pages import _commands

    found = list(_commands("x:1", "A_ROOT=<root of it> dvc repro [--force now]; git checkout a && make b  # and so on"))
    assert found == [
        Command("x:1", ("dvc", "repro", "--force", "now"), ("A_ROOT",)),
        Command("x:1", ("git", "checkout", "a"), ()),
        Command("x:1", ("make", "b"), ()),
    ]
