# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Print a published recipe for `dvc exp run $(python -m stages.recipe NAME)`, or write it into a parameter file."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from models.errors import InputError
from stages.recipes.apply import arguments, changes_of, text, write
from stages.recipes.published import RECIPES
from stages.terminal.interrupt import run_command

# What `dvc exp run` refuses: with nothing in its place it would run the pipeline as it is.
REFUSED = "--no-such-recipe"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stdout.write(f"{REFUSED}\n")
        super().error(message)


def main() -> None:
    """Print or write one recipe, or list them."""
    listing = "\n".join(f"  {recipe.name:13} {recipe.about}" for recipe in RECIPES)
    parser = _Parser(
        prog="python -m stages.recipe",
        description=__doc__,
        epilog=f"recipes:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[recipe.name for recipe in RECIPES], metavar="NAME")
    parser.add_argument("--teacher", metavar="PATH", help="weights file or folder of predictions to learn from")
    parser.add_argument("--write", type=Path, metavar="FILE", help="parameter file to change, as params.yaml")
    given = parser.parse_args()
    try:
        changes = changes_of(given.name, given.teacher)
        if given.write is not None:
            write(changes, given.write)
            written = "".join(f"  {name}={text(value)}\n" for name, value in changes.items())
            sys.stdout.write(f"recipe {given.name} is written into {given.write}:\n{written}")
        else:
            sys.stdout.write(" ".join(arguments(changes)) + "\n")
    except InputError as error:
        sys.stdout.write(f"{REFUSED}\n")
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    run_command(main)
