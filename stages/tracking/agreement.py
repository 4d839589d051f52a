# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Whether dvc.lock is what the code and the parameters would give, judged without any data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo

REMEDY = "run `dvc repro` and commit dvc.lock with the metric files"


def disagreements(repo: Repo) -> list[str]:
    """What differs between lock and working tree, a sentence each, in the order of the stages.

    Code, parameters and files in git are compared with the lock. Data need not be there: of them the lock of each
    stage is compared with the lock of the stage that made them.
    """
    stages = sorted(repo.index.stages, key=lambda stage: str(stage.addressing))
    made = {str(out): out.hash_info.value for stage in stages for out in stage.outs if out.hash_info}
    return [f"{stage.addressing}: {text}; {REMEDY}" for stage in stages for text in _of_stage(stage, made)]


def _of_stage(stage: Any, made: dict[str, str]) -> Iterator[str]:
    if not all(out.hash_info for out in stage.outs):
        yield "is not in dvc.lock"
        return
    if stage.cmd_changed:
        yield "its command changed"
    for dep in stage.deps:
        yield from _of_dependency(dep, made)
    for out in stage.outs:
        if not out.use_cache and out.status():
            yield f"{out} is not the file that the stage wrote"


def _of_dependency(dep: Any, made: dict[str, str]) -> Iterator[str]:
    from dvc.dependency.param import ParamsDependency

    if isinstance(dep, ParamsDependency):
        for names in dep.status().values():
            yield "parameters changed: " + ", ".join(sorted(names) if isinstance(names, dict) else [str(names)])
    elif str(dep) in made:
        if not dep.hash_info or dep.hash_info.value != made[str(dep)]:
            yield f"it last saw another {dep} than the lock names now"
    elif dep.status():
        yield f"{dep} {'changed' if Path(str(dep)).exists() else 'is missing'}"
