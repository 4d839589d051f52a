# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Train the published methods on the current data as experiments and write one table of them."""

import argparse
import sys
from pathlib import Path

from models.errors import InputError
from stages.comparing.experiments import read_metrics, run_experiment
from stages.comparing.methods import METHODS
from stages.comparing.report import comparison
from stages.terminal.interrupt import run_command


def main() -> int:
    """Write the table and print it."""
    parser = argparse.ArgumentParser(prog="python -m stages.compare", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("metrics/compare.md"))
    parser.add_argument("--methods", nargs="+", choices=[m.slug for m in METHODS], default=[m.slug for m in METHODS])
    arguments = parser.parse_args()
    try:
        chosen = [method for method in METHODS if method.slug in arguments.methods]
        table = comparison([(method, read_metrics(run_experiment(method))) for method in chosen])
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    arguments.output.write_text(table)
    sys.stdout.write(table)
    return 0


if __name__ == "__main__":
    run_command(main, "experiments that ended are kept")
