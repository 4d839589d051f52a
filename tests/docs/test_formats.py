# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""docs/data-formats.md against the files of a small run: every field with its type and shape, nothing else."""

import re
from dataclasses import dataclass
from pathlib import Path

import h5py
import pyarrow.parquet as pq
import pytest

from stages.pipeline.code import ROOT
from tests.exchange.test_interchange import TABLE
from tests.pipeline.project import Project

PAGE = ROOT / "docs/data-formats.md"
ONLY_SOME = {"ground_v1", "ground_v2"}  # where there is a map


@dataclass(frozen=True)
class Field:
    types: tuple[str, ...]
    shape: tuple[str, ...]


def tables() -> dict[str, dict[str, Field]]:
    """Fields by artifact, from the headings and tables of the page."""
    found: dict[str, dict[str, Field]] = {}
    artifact = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            artifact = line.strip("# ").replace("&lt;", "<").replace("&gt;", ">")
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if len(row) == 6 and row[0].startswith("`"):
            shape = tuple(re.findall(r"[\w+]+", row[2]))
            for name in re.findall(r"`([^`]+)`", row[0]):
                found.setdefault(artifact, {})[name] = Field(tuple(row[1].split(" or ")), shape)
    return found


TABLES = tables()


def files(project: Project, artifact: str) -> list[Path]:
    return sorted(project.folder.glob(re.sub(r"<\w+>", "*", artifact)))


@pytest.mark.parametrize("artifact", [name for name in TABLES if name.endswith(".h5")])
def test_hdf5_files(artifact: str, tiny_project: Project) -> None:
    found = files(tiny_project, artifact)
    assert found
    wanted = TABLES[artifact]
    for path in found:
        sides: dict[str, int] = {}
        with h5py.File(path) as file:
            fields = {name for name, field in wanted.items() if field.types != ("attribute",)}
            assert set(file) | ONLY_SOME & fields == fields
            assert set(file.attrs) == set(wanted) - fields
            for name, dataset in file.items():
                assert str(dataset.dtype) in wanted[name].types, name
                assert len(dataset.shape) == len(wanted[name].shape), name
                for side, size in zip(wanted[name].shape, dataset.shape, strict=True):
                    letter, _, more = side.partition("+")
                    number = int(side) if side.isdigit() else sides.setdefault(letter, size - int(more or 0))
                    assert size == number + int(more or 0), name


@pytest.mark.parametrize("artifact", [name for name in TABLES if name.endswith(".parquet")])
def test_tables(artifact: str, tiny_project: Project) -> None:
    found = files(tiny_project, artifact)
    assert found
    for path in found:
        schema = pq.read_schema(path)
        assert {field.name: (str(field.type),) for field in schema} == {
            name: field.types for name, field in TABLES[artifact].items()
        }


def test_every_artifact_has_a_section(tiny_project: Project) -> None:
    """No kind of file in data/ that the page does not speak of."""
    text = PAGE.read_text().replace("&lt;", "<").replace("&gt;", ">")
    silent = set()
    for path in (tiny_project.folder / "data").rglob("*"):
        kind = path.relative_to(tiny_project.folder).parts[1]
        if path.is_file() and path.name != ".gitignore" and f"\n### data/{kind}" not in text:
            silent.add(kind)
    assert silent == set()


def test_the_layout_of_opensceneflow_is_told_whole() -> None:
    """The same names, types and shapes as the table that the exchange is tested against."""
    text = PAGE.read_text().split("## OpenSceneFlow's layout")[1]
    for name, (dtype, shape) in TABLE.items():
        if name == "deflow_best":  # the name of a result is free
            continue
        row = next(line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
        assert dtype in row and f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})" in row, name
