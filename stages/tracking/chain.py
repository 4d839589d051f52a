# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The stages that lead to a file, from dvc.lock alone: their data, parameters and code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.errors import InputError

LOCK = Path("dvc.lock")
CODE = ("stages/", "models/", "kernels/")


@dataclass(frozen=True)
class Link:
    """One stage of a chain, as it last ran.

    Attributes:
        stage: its name.
        command: what ran.
        data: digest of each input that is an artifact, by path.
        code: digest of each code file or folder, by path.
        parameters: value of each parameter, by dotted name.
        outputs: digest of each output, by path.
    """

    stage: str
    command: str
    data: Mapping[str, str]
    code: Mapping[str, str]
    parameters: Mapping[str, Any]
    outputs: Mapping[str, str]


def read_lock(path: Path = LOCK) -> dict[str, Link]:
    """Every stage of a lock file by name; InputError if there is none or it is damaged."""
    try:
        return parse_lock(path.read_text(), str(path))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run `dvc repro`, which writes it") from None


def parse_lock(text: str, name: str = str(LOCK)) -> dict[str, Link]:
    """Every stage of a lock file's text by name; InputError if it is damaged."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _damaged(name, error) from error
    return links_of(content, name)


def links_of(content: Any, name: str) -> dict[str, Link]:
    """Every stage of a parsed lock by name; InputError naming the file if it is damaged."""
    try:
        return {stage: _link(stage, entry) for stage, entry in content["stages"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> InputError:
    return InputError(f"{name} is damaged ({error!r}); restore it with `git checkout {LOCK}`")


def _link(name: str, entry: Mapping[str, Any]) -> Link:
    deps = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    return Link(
        stage=name,
        command=entry["cmd"],
        data={path: digest for path, digest in deps.items() if not path.startswith(CODE)},
        code={path: digest for path, digest in deps.items() if path.startswith(CODE)},
        parameters={key: value for file in entry.get("params", {}).values() for key, value in file.items()},
        outputs={out["path"]: out["md5"] for out in entry.get("outs", [])},
    )


def out_of_step(links: Sequence[Link]) -> list[str]:
    """Inputs of a chain that are not what the lock says their stage wrote last, with both digests."""
    written = {path: digest for link in links for path, digest in link.outputs.items()}
    return [
        f"{link.stage} read {path} {digest[:10]}, which is {written[path][:10]} by now"
        for link in links
        for path, digest in sorted(link.data.items())
        if path in written and written[path] != digest
    ]


def chain(links: Mapping[str, Link], file: str) -> list[Link]:
    """The stages that a file rests on, the first ones first; InputError if no stage writes it."""
    writers = {path: link for link in links.values() for path in link.outputs}
    if file not in writers:
        known = ", ".join(sorted(path for path in writers if path.startswith("metrics/")))
        raise InputError(f"no stage in dvc.lock writes {file}; it knows {known}")
    ordered: dict[str, Link] = {}

    def visit(link: Link) -> None:
        for path in sorted(link.data):
            if path in writers and writers[path].stage not in ordered:
                visit(writers[path])
        ordered[link.stage] = link

    visit(writers[file])
    return list(ordered.values())
