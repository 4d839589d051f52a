# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Check, without any data, that dvc.lock agrees with code, parameters and metric files, and what the remote holds.

Exit codes: 0 all agree; 1 something differs or is missing from the remote; 2 it could not be judged.
"""

import argparse
import sys
from pathlib import Path

from models.errors import InputError
from stages.tracking.agreement import disagreements
from stages.tracking.obstacles import obstacles
from stages.tracking.remote import not_in_remote, remote_errors


def main() -> int:
    """Print what differs; the exit code is the verdict."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--obstacles", action="store_true", help="say only what keeps DVC from working, if anything")
    only_obstacles = parser.parse_args().obstacles
    try:
        found = obstacles(Path())
        sys.stderr.write("".join(f"error: {text}\n" for text in found))
        return 2 if found else 0 if only_obstacles else _check()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _check() -> int:
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            different = disagreements(repo)
            remote, missing = not_in_remote(repo)
    except remote_errors() as error:
        raise InputError(f"DVC cannot read the project or its remote: {error}") from error
    lines = different + [f"{out} is not in remote {remote!r}; run `make push`" for out in missing]
    if not different:
        sys.stdout.write("dvc.lock agrees with code, parameters and the files in git\n")
    if remote is None:
        sys.stdout.write("no remote is configured, so nothing is said of what others can fetch; see `make share`\n")
    elif not missing:
        sys.stdout.write(f"remote {remote!r} holds every output that dvc.lock names\n")
    sys.stdout.write("".join(f"- {line}\n" for line in lines))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
