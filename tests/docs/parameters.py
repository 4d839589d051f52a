# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""docs/parameters.md from the comments of params.yaml: written by `make docs`, compared by a test."""

import re
from dataclasses import dataclass

from stages.pipeline.code import ROOT

PAGE = ROOT / "docs/parameters.md"
HEAD = """# Parameters

Every knob of `params.yaml`: a section is a stage, a changed value reruns that stage and what depends on it. Written
from the comments there by `make docs`. Another value for one run: `dvc exp run -S cluster.epsilon=0.5`.
"""
_LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*)(#\s*(?P<comment>.*))?$")


@dataclass(frozen=True)
class Line:
    """A key of the file: its dotted name, its value (empty where it opens a mapping) and its comment."""

    name: str
    value: str
    comment: str


def read_lines(text: str) -> list[Line]:
    """Keys in the order of the file; ValueError names a line that is neither key nor comment."""
    lines: list[Line] = []
    path: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.match(line)
        if not found:
            raise ValueError(f"params.yaml:{number} is no 'key: value  # comment': {line!r}")
        depth = len(found["indent"]) // 2
        path = [*path[:depth], found["key"]]
        lines.append(Line(".".join(path), found["value"].strip(), (found["comment"] or "").strip()))
    return lines


def page(text: str) -> str:
    """The page: a table for each section."""
    parts = [HEAD]
    for line in read_lines(text):
        if "." not in line.name:
            parts.append(f"\n## {line.name}\n\n| parameter | default | meaning |\n|---|---|---|\n")
        else:
            if not line.value and not line.comment:
                continue  # opens a mapping that its keys explain
            value = f"`{line.value}`" if line.value else ""
            parts.append(f"| `{line.name}` | {value} | {line.comment.replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page((ROOT / "params.yaml").read_text()))


if __name__ == "__main__":
    main()
