# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The metric gate: compare the working tree's metric files with those of another revision.

Exit codes: 0 all numbers pass; 1 a number is worse than its slack allows, missing or not finite, a file is missing or
damaged, or a protocol changed undeclared; 2 it could not judge (unknown revision, faulty rules or params.yaml, no git).
"""

import argparse
import sys
from pathlib import Path

from models.errors import InputError
from stages.gating.freshness import stale
from stages.gating.judge import FAILING, Line, judge
from stages.gating.markdown import gate_table
from stages.gating.rules import read_rules
from stages.pipeline.main import check_parameters
from stages.pipeline.parameters import PARAMS_FILE
from stages.terminal.interrupt import run_command
from stages.tracking.revision import resolve, text_at


def gate(base: str, folder: Path) -> tuple[list[Line], str]:
    """Verdicts on every watched number of a working tree, and their table.

    Args:
        base: revision to compare with, as git names it.
        folder: root of the project.
    """
    rules = read_rules(folder / "metrics/gate.yaml")
    commit = resolve(base, folder)
    lines: list[Line] = []
    for file in rules.files():
        now = (folder / file).read_text() if (folder / file).is_file() else None
        lines += stale(file, folder)
        lines += judge(rules, file, text_at(commit, file, folder), now)
    return lines, gate_table(lines, f"{base} ({commit[:10]})", rules.measured)


def main() -> int:
    """Print the table; the exit code is the verdict."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="HEAD", help="revision to compare with; in CI the merge base")
    arguments = parser.parse_args()
    try:
        if PARAMS_FILE.exists():
            check_parameters()
        lines, table = gate(arguments.base, Path())
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(table)
    return int(any(line.verdict in FAILING for line in lines))


if __name__ == "__main__":
    run_command(main)
