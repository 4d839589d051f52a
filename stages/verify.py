# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Read every artifact in the cache and remove what is damaged, so that `dvc repro` makes it again.

Exit codes: 0 all are whole; 1 some were damaged and are removed; 2 it could not be judged.
"""

import argparse
import sys
from pathlib import Path

from models.errors import InputError
from stages.terminal.interrupt import run_command


def main() -> int:
    """Name and remove damaged objects and the outputs that are links to them; the exit code is the verdict."""
    argparse.ArgumentParser(
        prog="python -m stages.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    try:
        return _verify()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _verify() -> int:
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from tqdm import tqdm

    from stages.tracking.objects import is_damaged, links_to, objects, remove

    try:
        with Repo() as repo:
            found = objects(repo)
    except DvcException as error:
        raise InputError(f"DVC cannot read the project: {error}") from error
    with tqdm(found, desc="verify", unit="object") as bar:
        damaged = [path for path in bar if is_damaged(path)]
    if not damaged:
        sys.stdout.write(f"all {len(found)} objects of the cache are whole\n")
        return 0
    outputs = list(links_to(damaged, Path("data")))
    remove([*outputs, *damaged])
    lines = [f"{path.parent.name}{path.name}" for path in damaged] + [str(path) for path in outputs]
    sys.stdout.write("".join(f"- {line} was damaged and is removed\n" for line in lines))
    sys.stdout.write("run `dvc repro`, which makes it again, or `dvc pull`, which fetches it from a remote\n")
    return 1


if __name__ == "__main__":
    run_command(main)
