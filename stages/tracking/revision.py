# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Files of other revisions and of experiments, from git."""

import re
import subprocess
from pathlib import Path

from models.errors import InputError


def resolve(revision: str, folder: Path) -> str:
    """Full name of a commit, by a name that git knows or that of an experiment; InputError where there is none."""
    found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if found.returncode == 0:
        return found.stdout.strip()
    commits = experiment_commits(revision, folder)
    if not commits:
        raise InputError(
            f"revision {revision!r} is not in this repository; fetch it first (in CI, check out with full history)"
        )
    return commits[-1]


def has_commits(folder: Path) -> bool:
    """Whether anything was committed yet."""
    return _git(folder, "rev-parse", "--verify", "--quiet", "HEAD").returncode == 0


def experiment_commits(name: str, folder: Path) -> list[str]:
    """Commits of the DVC experiments of a name, on any baseline; the one of the newest commit last."""
    listed = _git(
        folder, "for-each-ref", "--sort=committerdate", "--format=%(objectname) %(refname)", "refs/exps"
    ).stdout
    return re.findall(rf"^([0-9a-f]{{40}}) refs/exps/[0-9a-f]{{2}}/[0-9a-f]+/{re.escape(name)}$", listed, re.MULTILINE)


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


def read(file: Path, commit: str | None, folder: Path) -> str:
    """Text of a file in a commit, or in the working tree where there is none; InputError if it has no such file."""
    if commit:
        text = text_at(commit, file.as_posix(), folder)
    else:
        text = (folder / file).read_text() if (folder / file).is_file() else None
    if text is None:
        where = f" in {commit[:10]}" if commit else ""
        raise InputError(f"{file} does not exist{where}; run `dvc repro`, which writes it, or name another revision")
    return text


def way_back(revision: str | None, commit: str | None, folder: Path) -> str:
    """The command that brings back lock and parameters of a revision, or of the commit of the working tree's file."""
    if revision and experiment_commits(revision, folder):
        return f"dvc exp apply {revision}    # commit {commit}"
    return f"git checkout {commit or '<the commit that will hold dvc.lock>'}"


def last_change(file: Path, folder: Path) -> str | None:
    """The last commit that changed a file, None where its present content is not committed."""
    clean = _git(folder, "diff", "--quiet", "HEAD", "--", str(file))
    found = _git(folder, "log", "-1", "--format=%H", "--", str(file))
    return found.stdout.strip() or None if clean.returncode == 0 else None


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError("git is not installed; files of other revisions are read from it") from None
