# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Running a method as a DVC experiment and reading its metric file."""

import json
import re
import subprocess
from collections.abc import Mapping
from typing import Any

from models.errors import InputError
from stages.comparing.methods import Method

METRICS = "metrics/val.json"


def run_experiment(method: Method) -> str:
    """Train and score a method in a workspace of its own; what was done before is taken from the cache.

    Returns:
        The commit of the experiment.

    Raises:
        InputError: A stage failed; its own message is on standard error.
    """
    name = f"compare-{method.slug}"
    if _commits(name):  # of an earlier comparison; its stages are in the run cache
        subprocess.run(["dvc", "exp", "remove", "--quiet", name], check=True)
    changes = [part for key, value in method.changes.items() for part in ("-S", f"{key}={value}")]
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *changes], check=False).returncode:
        raise InputError(f"{method.name} could not be trained and scored; see the message of its stage above")
    commits = _commits(name)
    if not commits:
        raise InputError(f"DVC made no experiment {name}; look at `dvc exp list --all`")
    return commits[-1]


def _commits(name: str) -> list[str]:
    """Commits of the experiments of a name, on any baseline."""
    command = ["git", "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps"]
    references = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.findall(rf"^([0-9a-f]{{40}}) refs/exps/.*/{re.escape(name)}$", references, re.MULTILINE)


def read_metrics(commit: str) -> Mapping[str, Any]:
    """The metric file of an experiment."""
    shown = subprocess.run(["git", "show", f"{commit}:{METRICS}"], capture_output=True, text=True, check=False)
    if shown.returncode:
        raise InputError(f"experiment {commit[:10]} has no {METRICS}: {shown.stderr.strip()}")
    content: Mapping[str, Any] = json.loads(shown.stdout)
    return content
