# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Every recipe is a sound parameter file, the same through DVC's command line as written by the command."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.pipeline.code import ROOT
from stages.pipeline.main import check_parameters
from stages.pipeline.parameters import read_file, read_parameters
from stages.recipes.apply import arguments, changes_of, write
from stages.recipes.edit import edit
from stages.recipes.published import RECIPES, Value

NAMES = [recipe.name for recipe in RECIPES]


def teacher_of(name: str) -> str | None:
    return str(ROOT / "teachers") if name == "zeroflow" else None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    return tmp_path / "params.yaml"


def at(content: Any, name: str) -> Any:
    for key in name.split("."):
        content = content[key]
    return content


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_sound_parameter_file(name: str, file: Path) -> None:
    changes = changes_of(name, teacher_of(name))
    before = file.read_text()
    write(changes, file)
    check_parameters(file)
    content = read_file(file)
    for key, value in changes.items():
        assert at(content, key) == (list(value) if isinstance(value, tuple) else value), key
    kept = [line.split("#")[1] for line in before.splitlines() if "#" in line]
    assert kept == [line.split("#")[1] for line in file.read_text().splitlines() if "#" in line]


@pytest.mark.parametrize("name", NAMES)
def test_dvc_reads_the_same_values_from_its_command_line(name: str, file: Path) -> None:
    from dvc.utils.hydra import apply_overrides

    changes = changes_of(name, teacher_of(name))
    apply_overrides(file, arguments(changes)[1::2])
    by_dvc = read_file(file)
    shutil.copy(ROOT / "params.yaml", file)
    write(changes, file)
    assert by_dvc == read_file(file)


def test_the_published_numbers(file: Path) -> None:
    """Of the recipes' own sheet: epochs, rate, batch of four GPUs, iterations, and clipping as the mean sees it."""
    rows = {
        "seflow": ("deflow", 9, 2e-4, 64, 2, 5 / 16),
        "seflow-paper": ("deflow", 50, 2e-6, 20, 2, 5 / 5),
        "deflow": ("deflow", 15, 2e-4, 64, 4, 5 / 16),
        "fastflow3d": ("fastflow3d", 20, 4e-5, 64, None, 5 / 16),
        "seflow++": ("deflowpp", 9, 2e-4, 16, 2, 5 / 4),
    }
    for name, (kind, epochs, rate, batch, iterations, clip) in rows.items():
        shutil.copy(ROOT / "params.yaml", file)
        write(changes_of(name, None), file)
        p = read_parameters("train", TrainParameters, file)
        assert (p.model.kind, p.epochs, p.learning_rate, p.batch, p.gradient_clip) == (kind, epochs, rate, batch, clip)
        assert iterations in (None, p.model.iterations)
        assert (p.model.grid().columns, p.model.grid().rows, p.model.width) == (512, 512, 32)


def test_a_teacher_is_named_where_one_is_needed() -> None:
    with pytest.raises(InputError, match="recipe zeroflow needs --teacher"):
        changes_of("zeroflow", None)
    with pytest.raises(InputError, match="recipe deflow has no --teacher"):
        changes_of("deflow", "x")


def test_a_teacher_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--teacher .*absent\.safetensors does not exist; name a weights file"):
        changes_of("zeroflow", str(tmp_path / "absent.safetensors"))
    (tmp_path / "published.ckpt").touch()
    with pytest.raises(InputError, match="is no weights file"):
        changes_of("zeroflow", str(tmp_path / "published.ckpt"))
    (tmp_path / "weights.safetensors").touch()
    assert changes_of("zeroflow", str(tmp_path / "weights.safetensors"))["teach.source"]


@pytest.mark.parametrize("name", NAMES)
def test_only_the_lines_of_the_recipe_change(name: str, file: Path) -> None:
    changes = changes_of(name, teacher_of(name))
    before, old = file.read_text().splitlines(), read_file(file)
    write(changes, file)
    after = file.read_text().splitlines()
    wanted = {key.split(".")[-1] for key, value in changes.items() if _plain(value) != at(old, key)}
    changed = [line.split(":")[0].strip() for line, other in zip(after, before, strict=True) if line != other]
    assert changed and set(changed) <= wanted


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ("a:\n  b: 1  # one\n  c: null\n", 22, "a:\n  b: 22 # one\n  c: null\n"),
        ("a:\n  b:   100     # c\n  c: ~\n", 2e-6, "a:\n  b:   2.0e-06 # c\n  c: ~\n"),
        ("a: {b: 'x', c: }  # keep\n", "y z", "a: {b: y z, c: }  # keep\n"),
        (
            "a:\n  b:  # range\n  - 1.0\n  - 2.0\n  # next\n  c: 1\n",
            (3.0, 4.0),
            "a:\n  b: [3.0, 4.0]  # range\n  # next\n  c: 1\n",
        ),
        ("a:\n  b:\n    - 1\n    - 2", True, "a:\n  b: true"),
        ("a:\n  b: [1,\n      2]  # two\n", False, "a:\n  b: false  # two\n"),
        ("a:\n  b:\n  c: 1\n", 5, "a:\n  b: 5\n  c: 1\n"),
        ("a:\r\n  b: 1 # one\r\n", 2, "a:\r\n  b: 2 # one\r\n"),
    ],
)
def test_one_value_by_hand(text: str, value: Value, wanted: str) -> None:
    """Comments, nulls of any spelling, quotes and line ends stay; lists in lines of their own, as DVC writes them."""
    assert edit(text, {"a.b": value}) == wanted
    assert at(yaml.safe_load(wanted), "a.b") == _plain(value)


def test_a_parameter_file_of_another_version_stays_as_it_is(file: Path) -> None:
    text = file.read_text().replace("  precision: fp32        # of the U-Net: fp32, or bf16 (on", "  old: 1 # (on")
    file.write_text(text)
    with pytest.raises(InputError, match=r"has no parameter train\.precision"):
        write(changes_of("seflow", None), file)
    assert file.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  c: &x 1\n  b: *x\n",  # written at the anchor
        "a:\n  b: &x 1\n  c: *x\n",  # the anchor goes
        "a: &x\n  b: 1\nc: *x\n",  # two values for one
        "a:\n  b: |\n    text\n  c: 2\n",  # a block ends behind its line
        "a:\n  b: 1\n  b: 3\n",  # the last one counts
    ],
)
def test_what_cannot_be_changed_alone_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text := text + "d: 0\n")
    with pytest.raises(InputError, match=r"params\.yaml: a\.b cannot be changed without harm to other values"):
        write({"a.b": 5, "d": 1}, file)
    assert file.read_text() == text and list(tmp_path.iterdir()) == [file]


def test_anchors_elsewhere_do_no_harm() -> None:
    assert edit("x: &x {c: 1}\ny: *x\na:\n  b: 1\n", {"a.b": 5}) == "x: &x {c: 1}\ny: *x\na:\n  b: 5\n"


def test_a_link_stays_one_and_the_mode_too(file: Path) -> None:
    (file.parent / "run").mkdir()
    link = file.parent / "run/params.yaml"
    link.symlink_to("../params.yaml")
    file.chmod(0o640)
    write(changes_of("fastflow3d", None), link)
    assert link.is_symlink() and file.stat().st_mode & 0o777 == 0o640
    assert read_parameters("train", TrainParameters, file).loss == "ff3d"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read and written: Is a directory; name a file"):
        write(changes_of("fastflow3d", None), tmp_path)


def test_command(file: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stages.recipe", *words], capture_output=True, text=True, check=False, cwd=ROOT
        )

    shown = run("seflow").stdout.split()
    assert shown[::2] == ["-S"] * (len(shown) // 2)
    assert "train.model.range=[-51.2,-51.2,-1.4,51.2,51.2,4.6]" in shown
    written = run("fastflow3d", "--write", str(file))
    head, *lines = written.stdout.splitlines()
    assert (written.returncode, head) == (0, f"recipe fastflow3d is written into {file}:")
    assert [line.strip() for line in lines] == run("fastflow3d").stdout.split()[1::2]
    assert "  train.loss=ff3d" in lines
    assert read_parameters("train", TrainParameters, file).loss == "ff3d"
    refused = run("zeroflow")
    assert refused.returncode == 1 and refused.stderr.startswith("error: recipe zeroflow needs --teacher")
    assert refused.stdout == run("no-such").stdout == "--no-such-recipe\n"  # or DVC would run what there is
