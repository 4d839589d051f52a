# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Running a method as a DVC experiment and reading its metric file."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import InputError
from stages.comparing.methods import Method
from stages.tracking.revision import experiment_commits, text_at

METRICS = "metrics/val.json"


def run_experiment(method: Method) -> str:
    """Train and score a method in a workspace of its own; what was done before is taken from the cache.

    Returns:
        The commit of the experiment.

    Raises:
        InputError: A stage failed; its own message is on standard error.
    """
    name = f"compare-{method.slug}"
    if experiment_commits(name, Path()):  # of an earlier comparison; its stages are in the run cache
        subprocess.run(["dvc", "exp", "remove", "--quiet", name], check=True)
    changes = [part for key, value in method.changes.items() for part in ("-S", f"{key}={value}")]
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *changes], check=False).returncode:
        raise InputError(f"{method.name} could not be trained and scored; see the message of its stage above")
    commits = experiment_commits(name, Path())
    if not commits:
        raise InputError(f"DVC made no experiment {name}; look at `dvc exp list --all`")
    return commits[-1]


def read_metrics(commit: str) -> Mapping[str, Any]:
    """The metric file of an experiment."""
    text = text_at(commit, METRICS, Path())
    if text is None:
        raise InputError(f"experiment {commit[:10]} has no {METRICS}")
    content: Mapping[str, Any] = json.loads(text)
    return content
