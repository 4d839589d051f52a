# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Every command in README and docs is run, or checked by the parser of its program."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.data.logfile import LogFrames
from stages.folder.adapter import Folder
from stages.frames.ingest import ingest_log
from stages.pipeline.code import ROOT
from tests.docs.commands import PARSED, RUN, reason
from tests.docs.pages import PAGES, Block, Command, blocks, commands, line_commands, prose
from tests.docs.parsing import VARIABLES, fault
from tests.folder.logs import folder_entry, folder_ingest
from tests.pipeline.project import Project

COMMANDS = [command for page in PAGES for command in commands(page)]
SET_UP_DONE = "--assume-old=.venv/.ready"  # the packages are there: the tests run with them
NAMED_ONLY = "the following arguments are required"  # a command named in a sentence, not written out
INLINE = re.compile(r"`((?:python -m|make|dvc|\.venv/bin/pip) [^`]+)`")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_the_text_parse(page: Path) -> None:
    """`make share URL=…` in a sentence or a table: nobody need list it, but a slip must not stay."""
    wrong = [
        f"{command.where}: {command.text!r}: {found}"
        for number, line in prose(page)
        for code in INLINE.findall(line)
        for command in line_commands(f"{page.relative_to(ROOT)}:{number}", code.replace("…", "PLACEHOLDER"))
        if (found := fault(command.words)) and NAMED_ONLY not in found
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.fixture
def workspace(tiny_project: Project) -> Iterator[Project]:
    """The small project; what a command leaves there is taken away again."""
    yield tiny_project
    for name in ("scenes", "there"):
        shutil.rmtree(tiny_project.folder / name, ignore_errors=True)
    assert tiny_project.status() == ""


def test_commands_that_run(workspace: Project) -> None:
    """Those of RUN that stand in a page, in its order: what writes before what reads."""
    pages = {command.text for command in COMMANDS}
    for text in filter(pages.__contains__, RUN):
        line = text.replace("make ", f"make {SET_UP_DONE} ")
        result = workspace.run("bash", "-c", line, check=False)
        assert result.returncode == 0, f"{text}\n{result.stdout[-3000:]}"
        assert "Running stage" not in result.stdout, f"{text} should find nothing to do"


def test_every_python_block_has_a_test() -> None:
    """Of a block on another page say here where it runs, and let it run there."""
    pages = {
        block.where
        for block in PYTHON
        if block.page.name not in ("data-formats.md", "nearest-neighbour.md", "your-data.md")
    }
    assert not pages, f"no test runs the Python at {', '.join(sorted(pages))}; add one to tests/docs/test_commands.py"


def run_python(page: str, project: Project, folder: Path) -> None:
    for block in PYTHON:
        if block.page.name == page:
            project.run("python", "-c", f"import os; os.chdir({str(folder)!r})\n" + "\n".join(block.lines))


def test_the_example_of_reading(tiny_project: Project) -> None:
    run_python("data-formats.md", tiny_project, tiny_project.folder)


def test_the_example_of_writing_a_log(tiny_project: Project, tmp_path: Path) -> None:
    """What it writes ingest takes: from sweep to sweep what stands still comes 1 m nearer."""
    run_python("your-data.md", tiny_project, tmp_path)
    log = Folder().logs(tmp_path / "mine", "train")["monday-01"]
    outputs = {kind: tmp_path / "out" / kind for kind in ("frames", "boxes", "maps")}
    arguments = {"entry": json.dumps(folder_entry(log)), "digest": "full"}
    ingest_log(log.name, {"raw": log}, outputs, folder_ingest(), arguments)
    assert LogFrames.open(outputs["frames"]).ego1_SE3_ego0(0)[:3, 3].tolist() == [-1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("python -m stages.gate --bse main", "unrecognized arguments"),
        ("python -m stages.gaet", "there is no module stages.gaet"),
        ("python -m stages.simulator.write", "parses no arguments"),
        ("python -m pytest -m goldne tests", "no marker goldne"),
        ("python -m pytest tests/none.py", "there is no tests/none.py"),
        ("dvc exp rnu", "dvc does not take"),
        ("dvc repro predcit@val", "no stage predcit@val"),
        ("dvc exp run -S cluster.epslion=1", "no cluster.epslion"),
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
    assert [c.text for c in line_commands("x:1", "dvc exp run $(python -m a b)")] == ["python -m a b", "dvc exp run"]
    found = list(
        line_commands("x:1", "A_ROOT=<root of it> dvc repro [--force now]; git checkout a && make b  # and so on")
    )
    assert found == [
        Command("x:1", ("dvc", "repro", "--force", "now"), ("A_ROOT",)),
        Command("x:1", ("git", "checkout", "a"), ()),
        Command("x:1", ("make", "b"), ()),
    ]
