# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A recipe as arguments of `dvc exp run`, or written into a parameter file."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from models.errors import InputError
from stages.recipes.edit import edit
from stages.recipes.published import RECIPES, Value


def changes_of(name: str, teacher: str | None) -> dict[str, Value]:
    """Parameters of a recipe by dotted name.

    Raises:
        InputError: if the recipe wants a teacher and has none, or the other way round, or that teacher is not there.
    """
    recipe = next(recipe for recipe in RECIPES if recipe.name == name)
    if recipe.teacher != (teacher is not None):
        needs = "needs --teacher: a weights file or a folder of predictions" if recipe.teacher else "has no --teacher"
        raise InputError(f"recipe {name} {needs}")
    if teacher is not None:
        _check_teacher(Path(teacher))
    return {**recipe.changes, **({"teach.source": teacher} if teacher is not None else {})}


def _check_teacher(path: Path) -> None:
    """Refuse what the stage `teach` would refuse, before hours of work that it is the end of."""
    from stages.learning.teach import is_weights

    if not path.exists():
        raise InputError(f"--teacher {path} does not exist; name a weights file or a folder of predictions")
    is_weights(path)


def arguments(changes: Mapping[str, Value]) -> list[str]:
    """Words for `dvc exp run`."""
    return [word for name, value in changes.items() for word in ("-S", f"{name}={text(value)}")]


def text(value: Value) -> str:
    """A value as `dvc exp run` takes it."""
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def write(changes: Mapping[str, Value], file: Path) -> None:
    """Change the values in a parameter file and nothing else of it.

    Raises:
        InputError: The file cannot be read, changed or written, or has no such parameter; then it stays as it was.
    """
    try:
        changed = edit(file.read_bytes().decode(), changes)
        _replace(file.resolve(), changed.encode())
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; run from the folder that holds it") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read and written: {error.strerror}; name a file of yours") from None
    except KeyError as error:
        raise InputError(f"{file} has no parameter {error.args[0]}; take the params.yaml of this version") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _replace(file: Path, content: bytes) -> None:
    """New content of a file in one step, its mode kept."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        shutil.copymode(file, partial)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
