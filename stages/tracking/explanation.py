# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A chain of stages as text, with the commands that give its end again."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.tracking.chain import Link, out_of_step

_SHORT = 10  # characters of a digest that are shown


def explanation(file: str, content: Mapping[str, Any], links: Sequence[Link], same: bool, again: Sequence[str]) -> str:
    """What made a metric file, stage by stage.

    Args:
        file: the metric file.
        content: what it holds.
        links: the stages that it rests on, first ones first.
        same: whether the file is what the lock says its stage wrote.
        again: commands that give it again.
    """
    lines = [f"{file}, written by stage {links[-1].stage}", ""]
    if not same:
        lines += [f"warning: {file} is not what the stage wrote: it was changed or comes from another lock", ""]
    for text in out_of_step(links):
        lines += [f"warning: {text}: what is said of earlier stages is not what made {file}; run `dvc repro`", ""]
    for part in ("protocol", "provenance"):
        if part in content:
            lines += [part, *_nested(content[part], 1), ""]
    for link in links:
        lines += [*_stage(link), ""]
    lines += ["to get it again", *(f"  {command}" for command in again)]
    return "\n".join(lines) + "\n"


def recipe(stage: str, start: str) -> list[str]:
    """Commands that run a stage again as it ran for a metric file.

    Args:
        stage: the stage.
        start: the command that brings back the lock and the parameters that the file came with.
    """
    return [
        start,
        "make setup",
        "dvc pull --run-cache    # what a shared remote holds of it",
        f"dvc repro {stage}",
        f"make recompute STAGE={stage}    # to see the stage give the same digests, nothing taken from cache or store",
    ]


def _stage(link: Link) -> Iterator[str]:
    yield f"stage {link.stage}: {link.command}"
    for path, digest in sorted(link.data.items()):
        yield f"  reads  {path}  {digest[:_SHORT]}"
    for path, digest in sorted(link.outputs.items()):
        yield f"  writes {path}  {digest[:_SHORT]}"
    together = hashlib.sha256(json.dumps(sorted(link.code.items())).encode()).hexdigest()
    yield f"  code   {len(link.code)} files  {together[:_SHORT]}"
    yield from (f"  with   {name}: {value}" for name, value in flat(link.parameters))


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings by their dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _nested(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            yield f"{'  ' * depth}{name}"
            yield from _nested(entry, depth + 1)
        else:
            yield f"{'  ' * depth}{name}: {entry}"
