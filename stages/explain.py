# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Explain a score: the data, parameters, code and weights that made it, and the commands that give it again."""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from models.errors import InputError
from stages.terminal.interrupt import run_command
from stages.tracking.chain import LOCK, chain, parse_lock
from stages.tracking.changes import lock_changes
from stages.tracking.explanation import explanation, recipe
from stages.tracking.revision import last_change, read, resolve, way_back


def explain(file: Path, revision: str | None = None) -> str:
    """The chain that made a metric file.

    Args:
        file: the file, relative to the project.
        revision: commit, branch or experiment that has it; the working tree by default.

    Raises:
        InputError: the file or the lock is missing or cannot tell.
    """
    commit = None if revision is None else resolve(revision, Path())
    text, lock = read(file, commit, Path()), read(LOCK, commit, Path())
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{file} is no metric file ({error})") from error
    links = chain(parse_lock(lock), file.as_posix())
    same = links[-1].outputs[file.as_posix()] == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    start = way_back(revision, commit or last_change(file, Path()), Path())
    return explanation(file.as_posix(), content, links, same, recipe(links[-1].stage, start))


def main() -> int:
    """Print the explanation of the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.explain", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("metrics/val.json"))
    parser.add_argument("--rev", help="commit, branch or experiment that has the file (default: the working tree)")
    parser.add_argument("--changes", action="store_true", help="say instead why dvc.lock differs from a revision")
    parser.add_argument("--base", default="HEAD", help="that revision (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        file, changed = arguments.file, arguments.changes
        sys.stdout.write(lock_changes(file, arguments.base) if changed else explain(file, arguments.rev))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    run_command(main)
