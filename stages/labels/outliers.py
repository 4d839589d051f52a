# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Logs whose labels look wrong at a glance: among a thousand nobody looks at each."""

from collections.abc import Mapping, Sequence

TOO_DYNAMIC = 1 / 3  # dense traffic has a quarter; more is a wrong pose or a map that nothing aligns with


def outliers(table: Mapping[str, Sequence[str | int]]) -> dict[str, str]:
    """What is odd about a log, by its id, from the table of counts with one row a log.

    A log without any dynamic point teaches nothing of motion; one with a third of them has labels that mean nothing.
    """
    found: dict[str, str] = {}
    for log, points, dynamic in zip(table["log_id"], table["points"], table["dynamic"], strict=True):
        share = int(dynamic) / int(points) if int(points) else 0.0
        if not int(dynamic):
            found[str(log)] = "has no dynamic point at all"
        elif share >= TOO_DYNAMIC:
            found[str(log)] = f"has {share:.0%} of its points dynamic"
    return found
