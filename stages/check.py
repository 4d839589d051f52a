# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Check, without any data, that dvc.lock agrees with code, parameters and metric files, and what the remote holds.

Exit codes: 0 all agree; 1 something differs or is missing from the remote; 2 it could not be judged.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from models.errors import InputError
from stages.terminal.interrupt import run_command
from stages.tracking.agreement import disagreements
from stages.tracking.obstacles import Obstacle, obstacles
from stages.tracking.remote import not_in_remote, remote_errors


def main() -> int:
    """Print what differs; the exit code is the verdict."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--obstacles", action="store_true", help="say only what keeps DVC from working, if anything")
    parser.add_argument("--mend", action="store_true", help="remove that where nothing is lost by it, and say so")
    arguments = parser.parse_args()
    try:
        found = obstacles(Path())
        if arguments.mend:
            found = _mend(found)
        sys.stderr.write("".join(f"error: {obstacle.text}\n" for obstacle in found))
        if found or arguments.obstacles or arguments.mend:
            return 2 if found else 0
        return _check()
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _mend(found: list[Obstacle]) -> list[Obstacle]:
    """Run the remedies, say each, and give back what has none or whose remedy failed."""
    return [obstacle for obstacle in found if not (obstacle.remedy and _remedied(obstacle))]


def _remedied(obstacle: Obstacle) -> bool:
    sys.stderr.write(f"warning: {obstacle.text}\nrunning: {' '.join(obstacle.remedy)}\n")
    sys.stderr.flush()
    return subprocess.run(obstacle.remedy, check=False).returncode == 0


def _check() -> int:
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            different = disagreements(repo)
            remote, missing = not_in_remote(repo)
    except remote_errors() as error:
        raise InputError(f"DVC cannot read the project or its remote: {error}") from error
    lines = different + missing
    if not different:
        sys.stdout.write("dvc.lock agrees with code, parameters and the files in git\n")
    if remote is None:
        sys.stdout.write("no remote is configured, so nothing is said of what others can fetch; see `make share`\n")
    elif not missing:
        sys.stdout.write(f"remote {remote!r} holds every output that dvc.lock names\n")
    sys.stdout.write("".join(f"- {line}\n" for line in lines))
    return int(bool(lines))


if __name__ == "__main__":
    run_command(main)
