# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Files of another revision, from git."""

import subprocess
from pathlib import Path

from models.errors import InputError


def resolve(revision: str, folder: Path) -> str:
    """Full name of a commit; InputError where there is none of that name."""
    found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode:
        raise InputError(
            f"revision {revision!r} is not in this repository; fetch it first (in CI, check out with full history)"
        )
    return found.stdout.strip()


def text_at(commit: str, file: str, folder: Path) -> str | None:
    """Text of a file in a commit, None where it has none of that name."""
    listed = _git(folder, "ls-tree", "--name-only", commit, "--", file)
    if listed.returncode:
        raise InputError(f"git cannot list {commit}: {listed.stderr.strip()}")
    if not listed.stdout.strip():
        return None
    shown = _git(folder, "show", f"{commit}:{file}")
    if shown.returncode:
        raise InputError(f"git cannot show {file} of {commit}: {shown.stderr.strip()}; fetch the whole history")
    return shown.stdout


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError("git is not installed; the gate reads the base's metric files from it") from None
