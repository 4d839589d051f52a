# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Explain a score: the data, parameters, code and weights that made it, and the commands that give it again."""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from models.errors import InputError
from stages.tracking.chain import LOCK, chain, parse_lock, read_lock
from stages.tracking.changes import changes
from stages.tracking.explanation import explanation


def explain(file: Path) -> str:
    """The chain that made a metric file; InputError if the file or the lock cannot tell."""
    try:
        text = file.read_bytes()
        content = json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist; run `dvc repro`, or `dvc pull {file}`") from None
    except ValueError as error:
        raise InputError(f"{file} is no metric file ({error})") from error
    links = chain(read_lock(), file.as_posix())
    same = links[-1].outputs[file.as_posix()] == hashlib.md5(text, usedforsecurity=False).hexdigest()
    return explanation(file.as_posix(), content, links, _commit(file), same)


def _commit(file: Path) -> str | None:
    """The last commit that changed a file, None where its present content is not committed."""
    clean = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", file], capture_output=True, check=False)
    found = subprocess.run(["git", "log", "-1", "--format=%H", "--", file], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None if clean.returncode == 0 else None


def explain_changes(file: Path, revision: str) -> str:
    """Why the lock differs from that of a revision; empty where it does not, or the revision has none."""
    committed = _show(revision, LOCK)
    if committed is None:
        return ""
    before, after = parse_lock(committed, f"{revision}:{LOCK}"), read_lock()
    devices = [_device(_show(revision, file)), _device(file.read_text() if file.exists() else None)]
    known = (devices[0], devices[1]) if devices[0] and devices[1] else None
    lines = changes(before, after, known)
    return f"{LOCK} differs from {revision}:\n" + "".join(f"- {line}\n" for line in lines) if lines else ""


def _show(revision: str, file: Path) -> str | None:
    """A file's text at a revision, None where there is none."""
    command = ["git", "show", f"{revision}:./{file}"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout if found.returncode == 0 else None


def _device(metrics: str | None) -> str:
    """Kind of device that a metric file's model was trained on, empty where it does not say."""
    try:
        trained = str(json.loads(metrics or "{}")["provenance"]["trained_on"])
    except (ValueError, KeyError, TypeError):
        return ""
    return trained.partition(", ")[2]


def main() -> int:
    """Print the explanation of the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.explain", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("metrics/val.json"))
    parser.add_argument("--changes", action="store_true", help="say instead why dvc.lock differs from a revision")
    parser.add_argument("--base", default="HEAD", help="that revision (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        changed = arguments.changes
        sys.stdout.write(explain_changes(arguments.file, arguments.base) if changed else explain(arguments.file))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
