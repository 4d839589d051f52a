# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Print the headline of a metric file: `python -m stages.evaluation.show [metrics/val.json]`."""

import argparse
import json
import sys
from pathlib import Path

from stages.evaluation.table import headline_table


def main() -> None:
    """Print the table of the file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluation.show", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("metrics/val.json"))
    file = parser.parse_args().file
    try:
        report = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"error: {file} is not a metric file ({error}); run `dvc repro`")
    sys.stdout.write(headline_table(report, ("model", "nearest", "ego_motion", "no_motion")) + "\n")


if __name__ == "__main__":
    main()
