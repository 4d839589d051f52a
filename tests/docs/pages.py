# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""README and docs taken apart: fenced blocks, the commands in them, text between them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.pipeline.code import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Kinds of blocks that hold no commands: data, listings, and Python, which has a test of its own.
OTHER_KINDS = ("text", "yaml", "json", "python")
# The first word of a listing in a block without a kind: a tree of files, a picture in letters, a line of Python.
LISTINGS = ("dvc.yaml", "<root>/<split>/<log>/", "leaves", "rows = np.")


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line of its first content, its kind after the fence, its lines."""

    page: Path
    line: int
    kind: str
    lines: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command: where it stands, its words, variables that are set before it."""

    where: str
    words: tuple[str, ...]
    variables: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    start, kind, lines = 0, "", []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            if start:
                found.append(Block(page, start, kind, tuple(lines)))
                start, lines = 0, []
            else:
                start, kind = number + 1, line[3:].strip()
        elif start:
            lines.append(line)
    if start:
        raise ValueError(f"{page.name}:{start} opens a block that nothing closes")
    return found


def is_listing(block: Block) -> bool:
    return block.kind in OTHER_KINDS or (not block.kind and bool(block.lines) and block.lines[0].startswith(LISTINGS))


def commands(page: Path) -> list[Command]:
    """Every command of a page, in order; ValueError names a line that no shell reads."""
    return [
        command
        for block in blocks(page)
        if not is_listing(block)
        for offset, line in enumerate(block.lines)
        for command in line_commands(f"{page.relative_to(ROOT)}:{block.line + offset}", line)
    ]


def line_commands(where: str, line: str) -> Iterator[Command]:
    for inner in re.findall(r"\$\(([^()]*)\)", line):  # what another command prints is checked as that command
        yield from line_commands(where, inner)
    line = re.sub(r"\$\([^()]*\)", "", line)
    line = re.sub(r"<[^<>]*>", "PLACEHOLDER", line)  # <log>, <root with PandaSet>
    line = re.sub(r"\[options\]", "", line)
    line = re.sub(r"(?<= )\[(--[^\]]*)\]", r"\1", line)  # [--draws A B] may be given, so it must be known
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, "#"
    try:
        words = list(lexer)
    except ValueError as error:
        raise ValueError(f"{where} is no shell command ({error}): {line}") from error
    part: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set(";&|"):
            if part:
                yield _command(where, part)
            part = []
        else:
            part.append(word)


def _command(where: str, words: list[str]) -> Command:
    count = 0
    while count < len(words) - 1 and re.fullmatch(r"[A-Z0-9_]+=.*", words[count]):
        count += 1
    return Command(where, tuple(words[count:]), tuple(word.split("=")[0] for word in words[:count]))


def prose(page: Path) -> list[tuple[int, str]]:
    """Numbered lines of a page outside fenced blocks."""
    lines, inside = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            lines.append((number, line))
    return lines
