# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Import published checkpoints (.ckpt) as weights of this project, and export weights in their layout."""

import argparse
import sys
from pathlib import Path

from models.errors import InputError
from stages.terminal.interrupt import run_command


def main() -> None:
    """Import or export, and say what was written."""
    given = parser().parse_args()
    try:
        if given.what == "import":
            from models.published.convert import import_checkpoint
            from models.published.layout import Known

            known = Known(tuple(given.range) if given.range else None, given.voxel, given.iterations)
            text = import_checkpoint(given.source, given.target, known, given.frame)
        else:
            from models.published.convert import export_checkpoint

            text = export_checkpoint(given.source, given.target, tuple(given.mount))
    except InputError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write(f"{given.target}: {text}\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m stages.weights", description=__doc__)
    what = result.add_subparsers(dest="what", required=True)
    read = what.add_parser("import", help="a .ckpt of OpenSceneFlow or ZeroFlow to a weights file; runs nothing of it")
    read.add_argument("source", type=Path, help="the checkpoint")
    read.add_argument("target", type=Path, help="weights file to write, .safetensors")
    read.add_argument(
        "--frame",
        choices=("sensor", "ego"),
        default="sensor",
        help="what its points were in: sensor, the published convention since July 2024, or ego (default: %(default)s)",
    )
    six = ("X0", "Y0", "Z0", "X1", "Y1", "Z1")
    read.add_argument("--range", type=float, nargs=6, metavar=six, help="its range, m, where the file does not tell it")
    read.add_argument("--voxel", type=float, metavar="M", help="its pillars' side, m, where the file does not tell it")
    read.add_argument("--iterations", type=int, metavar="N", help="its GRU's, where the file does not tell them")
    write = what.add_parser("export", help="a weights file to a .ckpt in the published layout")
    write.add_argument("source", type=Path, help="weights file, .safetensors")
    write.add_argument("target", type=Path, help="checkpoint to write")
    write.add_argument(
        "--mount",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        default=(1.35, 0.0, 1.64),
        help="place of the lidar in the ego frame, m, for weights of the ego frame (default: Argoverse 2's)",
    )
    return result


if __name__ == "__main__":
    run_command(main)
