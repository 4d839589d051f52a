# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Entries of a metric file by their path."""

from collections.abc import Mapping
from typing import Any


def find(content: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The entry at a path, None where there is none."""
    node: Any = content
    for key in path:
        if not isinstance(node, Mapping) or key not in node:
            return None
        node = node[key]
    return node
