# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which items of the store the rules let go, and their table."""

import time
from collections.abc import Sequence, Set
from pathlib import Path

from stages.pruning.items import Item

_DAY_S, GB = 86400.0, 1e9


def choose(
    found: Sequence[Item], older_than: float | None, used: Set[Path] | None, keep_gb: float | None
) -> list[Item]:
    """Items that every given rule lets go; none without a rule.

    Args:
        found: the store's items, those first that were used longest ago.
        older_than: days without use.
        used: entries that the lock uses; what else there is may go, but a training that has not ended.
        keep_gb: size of the store, GB, above which the items that were used longest ago go first.
    """
    if older_than is None and used is None and keep_gb is None:
        return []
    chosen = list(found)
    if older_than is not None:
        chosen = [item for item in chosen if item.used < time.time() - older_than * _DAY_S]
    if used is not None:
        chosen = [item for item in chosen if item.kind != "checkpoint" and item.path not in used]
    if keep_gb is not None:
        chosen = _oldest(chosen, sum(item.size for item in found) - keep_gb * GB)
    return chosen


def _oldest(items: Sequence[Item], size: float) -> list[Item]:
    """The first items that have this size together."""
    taken: list[Item] = []
    for item in items:
        if size <= 0:
            break
        taken.append(item)
        size -= item.size
    return taken


def table(items: Sequence[Item]) -> str:
    """Number, size and what their removal frees, by step and kind."""
    rows: dict[tuple[str, str], tuple[int, int, int]] = {}
    for item in items:
        for row in ((item.step, item.kind), ("all", "")):
            number, size, freed = rows.get(row, (0, 0, 0))
            rows[row] = number + 1, size + item.size, freed + item.freed
    head = f"{'step':20} {'what':10} {'number':>7} {'GB':>9} {'freed GB':>9}\n"
    order = sorted(rows, key=lambda row: (row[0] == "all", row))
    lines = ((row, *rows[row]) for row in order)
    return head + "".join(
        f"{step:20} {kind:10} {number:7} {size / GB:9.3f} {freed / GB:9.3f}\n"
        for (step, kind), number, size, freed in lines
    )
