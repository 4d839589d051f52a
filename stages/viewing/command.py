# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The viewer's command line: which log, which of its pairs, whose predictions, and what to write."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.data.logfile import log_ids
from models.errors import InputError
from stages.rendering.birdseye import Scale
from stages.rendering.canvas import View
from stages.rendering.scene import LogScene
from stages.viewing.shot import Shot

KINDS = ("rrd", "png", "gif", "mp4")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        data: folder of the artifacts.
        split: name of the split.
        log: id of the log, or the beginning of one alone; None for the first.
        span: first pair and the one after the last; None leaves a side open.
        predictions: folder of each prediction by its name.
        outputs: file of each kind that is written.
        view: what pictures show.
        scale: what colours mean.
        rate: pairs a second of films.
    """

    data: Path
    split: str
    log: str | None
    span: tuple[int | None, int | None]
    predictions: Mapping[str, Path]
    outputs: Mapping[str, Path]
    view: View
    scale: Scale
    rate: float

    def shot(self) -> Shot:
        """Open the log; InputError says which log, folder or frame does not exist, or which output cannot be."""
        for kind, file in self.outputs.items():
            _check_output(kind, file)
        log = self._log()
        files = {name: folder / f"{log}.h5" for name, folder in self.predictions.items()}
        for name, file in files.items():
            if not file.exists():
                raise InputError(
                    f"prediction {name} has no log {log}: {file} does not exist; predict it, or name another"
                )
        scene = LogScene.open(self.data, self.split, log, files)
        pairs = [int(frame) for frame in scene.frames.pairs()]
        first, end = self.span
        chosen = [frame for frame in pairs if (first or 0) <= frame and (end is None or frame < end)]
        if not chosen:
            raise InputError(
                f"log {log} has no pair among the frames asked for; its {len(pairs)} pairs begin with frames "
                f"{pairs[0]} to {pairs[-1]}" if pairs else f"log {log} has no pair of sweeps"
            )  # fmt: skip
        return Shot(scene, chosen, tuple(self.predictions), self.view, self.scale, self.rate)

    def _log(self) -> str:
        folder = self.data / "frames" / self.split
        logs = log_ids(folder)
        found = [self.log] if self.log in logs else [log for log in logs if log.startswith(self.log or "")]
        if not logs:
            raise InputError(f"{folder} has no logs; run `dvc repro`, or name another --data or --split")
        if not found or (len(found) > 1 and self.log):
            raise InputError(f"{len(found)} logs of {folder} begin with {self.log}; it has {', '.join(logs[:10])}")
        return found[0]


def _check_output(kind: str, file: Path) -> None:
    """Refuse a name that would hide what is in the file, and a folder that may be a slip of the pen."""
    if file.suffix.lower() != f".{kind}":
        raise InputError(f"--{kind} writes {kind.upper()} and no other format, so {file} must end in .{kind}")
    if not file.parent.is_dir():
        raise InputError(f"the folder of --{kind} {file} does not exist; make {file.parent}, or name another")
    if file.is_dir():
        raise InputError(f"--{kind} {file} is a folder; name a file")


def parse(arguments: Sequence[str] | None = None) -> Request:
    """Read the command line; wrong ones end the program with its usage."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.view",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, default=Path("data"), help="folder of the artifacts (default: %(default)s)")
    add("--split", choices=("train", "val", "test"), default="val", help="part of the data (default: %(default)s)")
    add("--log", help="id of the log or its beginning (default: the first)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--frame", type=int, help="the one pair that begins with this sweep")
    which.add_argument("--frames", type=_span, default=(None, None), metavar="A:B", help="pairs from A on, before B")
    whose = "folder of predictions and what to call them; repeatable (default: model=DATA/predictions/SPLIT)"
    add("--predictions", type=_named, action="append", metavar="NAME=DIR", help=whose)
    for kind in KINDS:
        add(f"--{kind}", type=Path, metavar="FILE", help=_HELP[kind])
    add("--reach", type=_positive, default=40.0, help="half of the side of the square in pictures, m (%(default)s)")
    add("--pixels", type=int, default=480, help="side of each picture (%(default)s)")
    add("--full-speed", type=_positive, default=5.0, help="speed of full colour, m/s (%(default)s)")
    add("--full-error", type=_positive, default=0.5, help="error of the brightest colour, m (%(default)s)")
    add("--rate", type=_positive, default=5.0, help="pairs a second of films (%(default)s)")
    given = parser.parse_args(arguments)
    if not 64 <= given.pixels <= 2000:
        parser.error(f"--pixels must lie between 64 and 2000, not {given.pixels}")
    outputs = {kind: getattr(given, kind) for kind in KINDS if getattr(given, kind) is not None}
    return Request(
        data=given.data,
        split=given.split,
        log=given.log,
        span=given.frames if given.frame is None else (given.frame, given.frame + 1),
        predictions=dict(given.predictions or _default(given.data / "predictions" / given.split)),
        outputs=outputs or {"rrd": Path("view.rrd")},
        view=View(given.reach, given.pixels),
        scale=Scale(given.full_speed, given.full_error),
        rate=given.rate,
    )


_HELP = {
    "rrd": "write a recording for rerun",
    "png": "write a picture of the first pair",
    "gif": "write an animation",
    "mp4": "write a film (H.264)",
}


def _default(folder: Path) -> list[tuple[str, Path]]:
    return [("model", folder)] if folder.is_dir() else []


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR, as in mine=data/predictions/val")
    return name, Path(folder)


def _span(text: str) -> tuple[int | None, int | None]:
    first, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first) if first else None, int(end) if end else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B, as in 3:10, 3: or :10") from None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value
