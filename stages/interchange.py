# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Frames, labels and predictions to and from OpenSceneFlow's HDF5 scenes."""

import argparse
import sys
from pathlib import Path

from models.data.logfile import log_ids
from models.errors import InputError
from stages.evaluation.scene import is_opensceneflow
from stages.exchange.export import export_split
from stages.exchange.importing import ImportTask, import_log, mounts_file
from stages.frames.ingest import IngestParameters
from stages.pipeline.parameters import read_parameters
from stages.terminal.interrupt import run_command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m stages.interchange", description=__doc__)
    way = result.add_subparsers(dest="way", required=True)
    out = way.add_parser("export", help="write scenes of a split")
    out.add_argument("--data", type=Path, default=Path("data"), help="where frames and labels lie (default: data)")
    out.add_argument("--split", default="val", help="split to write (default: val)")
    out.add_argument("--result", default="sceneflow", metavar="FIELD", help="field of the predicted flow")
    out.add_argument("--masks", type=Path, metavar="ZIP", help="official v1 mask zip, which gives eval_mask")
    back = way.add_parser("import", help="write files of this project from scenes")
    back.add_argument("scenes", type=Path, help="folder of <scene>.h5")
    back.add_argument("--split", default="val", help="split to write to (default: val)")
    back.add_argument("--mounts", type=Path, metavar="FILE", help="mounts.json, for scenes of other programs")
    back.add_argument("--result", metavar="FIELD", help="field of the predicted flow, where there are several")
    for command in (out, back):
        command.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    return result


def run(given: argparse.Namespace) -> list[Path]:
    """Export or import; returns the scenes or frames that were written."""
    if given.way == "export":
        logs = log_ids(given.data / "frames" / given.split)
        if not logs:
            raise InputError(f"{given.data / 'frames' / given.split} has no logs; run `dvc repro`")
        return export_split(given.data, given.split, logs, given.output, given.result, given.masks)
    scenes = sorted(path for path in given.scenes.glob("*.h5") if is_opensceneflow(path))
    if not scenes:
        raise InputError(f"{given.scenes} has no scenes of OpenSceneFlow (*.h5); name the folder that holds them")
    mounts = mounts_file(given.mounts) if given.mounts else None
    gap = read_parameters("ingest", IngestParameters).pair_gap_s
    task = ImportTask(given.split, mounts, given.result, gap)
    return [import_log(scene, given.output, task)["frames"] for scene in scenes]


def main() -> None:
    """Name what was written."""
    try:
        written = run(parser().parse_args())
    except InputError as error:
        sys.exit(f"error: {error}")
    sys.stdout.write("".join(f"{path}\n" for path in written))


if __name__ == "__main__":
    run_command(main)
