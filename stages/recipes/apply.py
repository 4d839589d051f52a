# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A recipe as arguments of `dvc exp run`, or written into a parameter file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from models.errors import InputError
from stages.recipes.published import RECIPES, Value


def changes_of(name: str, teacher: str | None) -> dict[str, Value]:
    """Parameters of a recipe by dotted name; InputError if it wants a teacher and has none, or the other way round."""
    recipe = next(recipe for recipe in RECIPES if recipe.name == name)
    if recipe.teacher != (teacher is not None):
        needs = "needs --teacher: a weights file or a folder of predictions" if recipe.teacher else "has no --teacher"
        raise InputError(f"recipe {name} {needs}")
    return {**recipe.changes, **({"teach.source": teacher} if teacher is not None else {})}


def arguments(changes: Mapping[str, Value]) -> list[str]:
    """Words for `dvc exp run`."""
    return [word for name, value in changes.items() for word in ("-S", f"{name}={_text(value)}")]


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def write(changes: Mapping[str, Value], file: Path) -> None:
    """Change the values in a parameter file, comments kept.

    Raises:
        InputError: The file has no such parameter; then it stays as it was.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq

    yaml = YAML()
    yaml.width = 1000
    try:
        content = yaml.load(file.read_text())
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; run from the folder that holds it") from None
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = content
        for section in sections:
            place = place.get(section, {})
        if key not in place:
            raise InputError(f"{file} has no parameter {name}; take the params.yaml of this version")
        if isinstance(value, tuple):
            place[key] = CommentedSeq(value)
            place[key].fa.set_flow_style()
        else:
            place[key] = value
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    with partial.open("w") as stream:
        yaml.dump(content, stream)
    os.replace(partial, file)
