# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Send to the shared remote what others need in order to run nothing: artifacts, run cache and metric files."""

import argparse
import sys

from models.errors import InputError
from stages.terminal.interrupt import run_command
from stages.tracking.remote import push, remote_errors


def main() -> int:
    """Push, and say how much was sent."""
    parser = argparse.ArgumentParser(prog="python -m stages.push", description=__doc__)
    parser.add_argument("--all", action="store_true", help="also what experiments and earlier runs left in this cache")
    everything = parser.parse_args().all
    try:
        sent = _push(everything)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{sent} objects sent\n" if sent else "the remote holds everything already\n")
    return 0


def _push(everything: bool) -> int:
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return push(repo, everything)
    except remote_errors() as error:
        raise InputError(f"DVC cannot write to the shared remote: {error}; see docs/sharing.md") from error


if __name__ == "__main__":
    run_command(main, "what was sent stays, push again for the rest")
