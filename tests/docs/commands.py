# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which commands of README and docs the tests run, and which they only parse, by name and with the reason.

A command in a page that neither table names fails the test: put it into RUN if a small project answers it in seconds
and nothing outside that project changes, else into PARSED.
"""

# Run in the small project, in the order of the pages; a make target without the set-up of .venv.
RUN = (
    "make explain",
    "make check",
    "python -m stages.evaluation.show",
    "python -m stages.labels.recipes --split val",
    "python -m stages.interchange export --split val --output scenes",
    "python -m stages.interchange import scenes --split val --output there",
    "python -m stages.evaluate --predictions scenes",
    "dvc metrics diff",
    "dvc exp show --only-changed",
    "dvc repro",
    "dvc repro quality",
    "dvc repro predict@val",
    "git checkout HEAD params.yaml",
)
LONG = "minutes of training"
OTHER = "needs another machine, a remote or a colleague"
SETS_UP = "installs packages or changes settings of the machine"
NAMES = "names files or experiments that the reader has"
ELSEWHERE = "is run by a test of its own"

# Checked by the parser of its program alone. The longest entry that a command begins with counts.
PARSED = {
    "make repro": ELSEWHERE,
    "make test": "is this test's own run",
    "make catalog": ELSEWHERE,
    "make setup": SETS_UP,
    "make gpu-check": "needs a GPU",
    "make compare": LONG,
    "make download": OTHER,
    "make gate BASE=": ELSEWHERE,
    "make report": LONG,
    "make experiments": NAMES,
    "make explain REV=": NAMES,
    "make push": OTHER,
    "make share": OTHER,
    "make recompute": LONG,
    "dvc exp run": LONG,
    "dvc exp apply": NAMES,
    "dvc queue": LONG,
    "dvc add": NAMES,
    "dvc plots diff": "writes a page for a browser",
    "dvc push": OTHER,
    "dvc pull": OTHER,
    "dvc get": OTHER,
    "dvc import": OTHER,
    "dvc config": SETS_UP,
    "dvc remote": OTHER,
    "dvc plots show": "writes a page for a browser",
    "python -m pytest": "needs real data",
    "python -m stages.evaluate": NAMES,
    "python -m stages.estimate": NAMES,
    "python -m stages.view": NAMES,
    "python -m stages.recipe": ELSEWHERE,
    "python -m stages.weights": NAMES,
    "rerun": "opens a window",
    "python -m stages.train": LONG,
    "torchrun": ELSEWHERE,
    ".venv/bin/pip install": SETS_UP,
    "export": SETS_UP,
    "sed": ELSEWHERE,
    "umask": SETS_UP,
    "install -d": SETS_UP,
}


def reason(command: str) -> str | None:
    """Why a command is only parsed, None if it is not listed."""
    names = [name for name in PARSED if command == name or command.startswith((f"{name} ", f"{name}."))
             or (name.endswith("=") and command.startswith(name))]  # fmt: skip
    return PARSED[max(names, key=len)] if names else None
