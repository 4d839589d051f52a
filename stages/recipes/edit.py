# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""New values in the text of a YAML file, every other character left as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import yaml

from stages.recipes.published import Value


def edit(text: str, changes: Mapping[str, Value]) -> str:
    """The text with other values; comments stay in their column where the new value leaves room.

    Args:
        text: of a YAML file whose values lie in mappings.
        changes: new values by dotted name.

    Raises:
        KeyError: with the dotted name that the text has not.
        yaml.YAMLError: if the text is no YAML.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = [(*_span(root, name), value) for name, value in changes.items()]
    for start, end, value in sorted(edits, key=lambda place: place[0], reverse=True):
        text = text[:start] + _entry(text[start:end], value, text[end:])
    return text


def _span(root: yaml.Node | None, name: str) -> tuple[int, int]:
    """Where the colon and the value of a dotted name stand, comments between them included."""
    node, start = root, 0
    for key in name.split("."):
        entries = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((k, v) for k, v in entries if k.value == key), None)
        if found is None:
            raise KeyError(name)
        start, node = found[0].end_mark.index, found[1]
    return start, _end(node)


def _end(node: yaml.Node | None) -> int:
    """Where a value ends; a block's own mark stands behind what follows it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index) if node is not None else 0


def _entry(old: str, value: Value, rest: str) -> str:
    """Colon, value and what follows, in place of the old colon and value."""
    gap = re.match(r":[ ]+(?![ #\r\n])", old)
    new = (gap.group() if gap else ": ") + _written(value)
    first, *more = old.split("\n")
    if more:
        comment = re.search(r"[ ]+#.*", first)  # above the lines of the old value
        return new + (comment.group() if comment else "") + rest
    spaces = re.match(r"[ ]+(?=#)", rest)
    if spaces is None:
        return new + rest
    return new + " " * max(1, len(old) + len(spaces.group()) - len(new)) + rest[spaces.end() :]


def _written(value: Value) -> str:
    plain = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
    text: str = yaml.safe_dump(plain, default_flow_style=True, width=10_000)
    return text.split("\n")[0]
