# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""New values in the text of a YAML file, every other character left as it is."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import yaml

from models.errors import InputError
from stages.recipes.published import Value


def edit(text: str, changes: Mapping[str, Value]) -> str:
    """The text with other values; comments stay in their column where the new value leaves room.

    Args:
        text: of a YAML file whose values lie in mappings.
        changes: new values by dotted name.

    Raises:
        KeyError: with the dotted name that the text has not.
        yaml.YAMLError: if the text is no YAML.
        InputError: if it would then hold other values than those, as where anchors or blocks of text stand.
    """
    changed = _edited(text, changes)
    if not _holds(changed, _expected(text, changes)):
        alone = ({name: value} for name, value in changes.items())
        faults = [name for one in alone if not _holds(_edited(text, one), _expected(text, one)) for name in one]
        raise InputError(
            f"{', '.join(faults or changes)} cannot be changed without harm to other values; write anchors, aliases "
            "and blocks of text there as plain values"
        )
    return changed


def _edited(text: str, changes: Mapping[str, Value]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = [(*_span(root, name), value) for name, value in changes.items()]
    for start, end, value in sorted(edits, key=lambda place: place[0], reverse=True):
        text = text[:start] + _entry(text[start:end], value, text[end:])
    return text


def _expected(text: str, changes: Mapping[str, Value]) -> object:
    """The content of the text with other values."""
    content = _unshared(yaml.safe_load(text))
    for name, value in changes.items():
        *above, last = name.split(".")
        reduce(operator.getitem, above, content)[last] = _plain(value)
    return content


def _unshared(content: Any) -> Any:
    """A copy in which what an alias stands for is a value of its own."""
    if isinstance(content, dict):
        return {key: _unshared(value) for key, value in content.items()}
    return [_unshared(value) for value in content] if isinstance(content, list) else content


def _holds(text: str, content: object) -> bool:
    try:
        return bool(yaml.safe_load(text) == content)
    except yaml.YAMLError:
        return False


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
    text: str = yaml.safe_dump(_plain(value), default_flow_style=True, width=10_000)
    return text.split("\n")[0]


def _plain(value: Value) -> object:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
