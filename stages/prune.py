# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Show what lies in the log-at-a-time store, and remove what the given rules choose; nothing goes without --delete.

What goes is only saved work: it is computed again when it is needed. Outputs and DVC's cache keep their files.
"""

import argparse
import sys

from models.errors import InputError
from stages.pipeline.compute import compute
from stages.pruning.choice import choose, table
from stages.pruning.items import items, remove_items
from stages.pruning.lock import cache_folder, used_by_lock
from stages.terminal.interrupt import run_command


def prune(older_than: float | None, unused: bool, keep_gb: float | None, delete: bool) -> str:
    """Do what the arguments say, and say what was done."""
    store = compute().store
    found = items(store)
    if older_than is None and keep_gb is None and not unused:
        return f"{store} holds:\n{table(found)}" if found else f"{store} holds nothing\n"
    used = used_by_lock(found, cache_folder()) if unused else None
    chosen = choose(found, older_than, used, keep_gb)
    if not chosen:
        return f"nothing in {store} can go by these rules\n"
    if not delete:
        return f"would go from {store}, with --delete (make prune … DELETE=1):\n{table(chosen)}"
    gone, busy = remove_items(chosen)
    left = f"left alone, for a stage is at work on it: {', '.join(sorted(busy))}\n" if busy else ""
    return f"gone from {store}:\n{table(gone)}{left}"


def main() -> int:
    """Command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m stages.prune", description=__doc__, formatter_class=formatter)
    parser.add_argument("--older-than", type=float, metavar="DAYS", help="what was not used for so many days")
    parser.add_argument("--unused", action="store_true", help="what lies in no output of dvc.lock")
    parser.add_argument("--keep-gb", type=float, metavar="GB", help="the longest unused until the store is so small")
    parser.add_argument("--delete", action="store_true", help="remove it; without, it is only shown")
    given = parser.parse_args()
    try:
        sys.stdout.write(prune(given.older_than, given.unused, given.keep_gb, given.delete))
    except InputError as error:
        sys.exit(f"error: {error}")
    return 0


if __name__ == "__main__":
    run_command(main)
