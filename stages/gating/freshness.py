# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a metric file is what the parameters of the working tree give, by dvc.lock alone and without DVC."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import InputError
from stages.gating.judge import Line
from stages.pipeline.parameters import PARAMS_FILE, read_file
from stages.tracking.chain import LOCK, Link, chain, links_of, out_of_step
from stages.tracking.changes import listed
from stages.tracking.explanation import flat


def stale(file: str, folder: Path) -> list[Line]:
    """A line that warns of numbers that other parameters made, empty where there is nothing to warn of.

    Code is left to `stages.check`: most of its changes change no number.

    Args:
        file: metric file, relative to the project.
        folder: root of the project.

    Raises:
        InputError: the parameter file cannot be read, so that nobody knows what the numbers should be of.
    """
    if not (folder / LOCK).exists() or not (folder / file).is_file():
        return []
    parameters = read_file(folder / PARAMS_FILE)
    try:
        links = links_of(read_file(folder / LOCK), str(LOCK))
        reasons = list(_reasons(file, folder, links, parameters))
    except InputError as error:
        reasons = [f"may be out of date: {error}"]
    remark = "; ".join(reasons)
    return [Line(file, "", None, None, None, "stale", f"{remark}; run `dvc repro`")] if reasons else []


def _reasons(file: str, folder: Path, links: Mapping[str, Link], parameters: Mapping[str, Any]) -> Iterator[str]:
    if not any(file in link.outputs for link in links.values()):
        return
    made = chain(links, file)
    if made[-1].outputs[file] != hashlib.md5((folder / file).read_bytes(), usedforsecurity=False).hexdigest():
        yield f"is not the file that stage {made[-1].stage} wrote by {LOCK}"
    was, now = _parameters(made, parameters)
    names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
    if names:
        yield f"was made by other parameters than {PARAMS_FILE} has: {listed(names, was, now)}"
    yield from (f"is older than {LOCK}: {text}" for text in out_of_step(made)[:1])


def _parameters(made: Sequence[Link], content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the stages of a chain ran with and what the parameter file has there, leaves by dotted name."""
    then = {name: value for link in made for name, value in link.parameters.items()}
    now = {name: found for name in then if (found := _at(content, name)) is not None}
    return dict(flat(then)), dict(flat(now))


def _at(content: Any, name: str) -> Any:
    for key in name.split("."):
        content = content.get(key) if isinstance(content, Mapping) else None
    return content
