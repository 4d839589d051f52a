# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Links between pages resolve; files and parameters that a page names exist."""

import re
from pathlib import Path

import pytest
import yaml

from stages.pipeline.code import ROOT
from tests.docs.pages import PAGES, prose
from tests.docs.parsing import is_parameter

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_TOPS = ("stages/", "models/", "kernels/", "tests/", "docs/", ".github/", "metrics/", "data/")
_FILES = re.compile(r"[\w.-]+\.(?:yaml|toml|lock|cff)|Makefile|README\.md")
# Files that the reader has or makes, and names of our own that look like a parameter.
MADE = ("compute.yaml", "metrics/compare.md", "metrics/compare.json")
NOT_PARAMETERS = ("catalog.json", "train.py", "data.yaml")
PARAMETERS = yaml.safe_load((ROOT / "params.yaml").read_text())
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())


def slugs(page: Path) -> set[str]:
    """Anchors of a page's headings, as Git hosts make them."""
    headings = [line.lstrip("#").strip() for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    wrong = []
    for number, line in prose(page):
        for target in _LINK.findall(line):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in slugs(file)):
                wrong.append(f"{page.name}:{number} links to {target}, which is not there")
    assert not wrong, "\n" + "\n".join(wrong)


def outputs() -> list[str]:
    """Folders and files that stages write, `${…}` cut off."""
    names = []
    for definition in DVC["stages"].values():
        body = definition.get("do", definition)
        for out in [*body.get("outs", []), *body.get("metrics", [])]:
            names.append(str(next(iter(out)) if isinstance(out, dict) else out).split("${")[0].rstrip("/"))
    return names


def file_fault(name: str) -> str | None:
    """What is wrong with a path that a page names; placeholders and braces stand for anything."""
    name = name.split(" ")[0]
    if name in MADE or name.startswith("metrics/benchmarks/") or (ROOT / name).exists():
        return None
    start = re.split(r"[<{*…]|&lt;", name)[0]
    fixed = start.rstrip("/")
    if name.startswith(("data/", "metrics/")):
        made = any(fixed == out or fixed.startswith(f"{out}/") or out.startswith(f"{fixed}/") for out in outputs())
        return None if made or fixed in ("data", "metrics") else f"names {name}, which no stage writes"
    folder = ROOT / (start if start.endswith("/") else Path(start).parent)
    return None if start != name and folder.is_dir() else f"names {name}, which is not there"


def parameter_fault(name: str) -> str | None:
    """What is wrong with a dotted name whose first part is a section of params.yaml."""
    return None if is_parameter(name) else f"names the parameter {name}, which params.yaml does not have"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_and_parameters_exist(page: Path) -> None:
    wrong = []
    for number, line in prose(page):
        for code in _CODE.findall(line):
            found = None
            if code.startswith(_TOPS) or _FILES.fullmatch(code):
                found = file_fault(code)
            elif dotted := re.match(r"([a-z_0-9]+(?:\.[a-z_0-9]+)+)(?:: .*|=.*)?$", code):
                if dotted[1].split(".")[0] in PARAMETERS and dotted[1] not in NOT_PARAMETERS:
                    found = parameter_fault(dotted[1])
            if found:
                wrong.append(f"{page.name}:{number} {found}")
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("stages/none.py", "not there"),
        ("data/nothing/val", "no stage writes"),
        ("stages/nowhere/*.py", "not there"),
    ],
)
def test_a_wrong_file_is_told(name: str, part: str) -> None:
    assert part in str(file_fault(name))


def test_a_wrong_parameter_is_told() -> None:
    assert parameter_fault("cluster.epsilon") is None
    assert "cluster.epslion" in str(parameter_fault("cluster.epslion"))
