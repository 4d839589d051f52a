# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Look at a log with truth, predictions, errors and labels: a recording for rerun, or pictures without a window.

Without an output it writes view.rrd, which `rerun view.rrd` opens (extra `view`). Predictions of other experiments come
beside: `dvc get . data/predictions/val --rev EXPERIMENT -o other`, then
`--predictions mine=data/predictions/val --predictions other=other`.
"""

import sys

from models.errors import InputError
from stages.terminal.interrupt import run_command
from stages.viewing.command import parse
from stages.viewing.film import write_gif, write_mp4, write_png
from stages.viewing.recording import write_rrd

WRITERS = {"rrd": write_rrd, "png": write_png, "gif": write_gif, "mp4": write_mp4}


def main() -> int:
    """Write what the command line asks for and name the files."""
    request = parse()
    try:
        shot = request.shot()
        for kind, file in request.outputs.items():
            WRITERS[kind](file, shot)
            sys.stdout.write(f"{file}: log {shot.scene.frames.log_id}, {len(shot.frames)} pairs\n")
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    run_command(main)
