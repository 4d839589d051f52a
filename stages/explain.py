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
from stages.tracking.chain import chain, read_lock
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


def main() -> int:
    """Print the explanation of the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.explain", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("metrics/val.json"))
    try:
        sys.stdout.write(explain(parser.parse_args().file))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
