# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Entries of a metric file by their path."""

from collections.abc import Mapping, Sequence
from typing import Any


def find(content: Any, path: Sequence[str]) -> Any:
    """The entry at a path, None where there is none."""
    for key in path:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content
