# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Points that leaderboard v1 scores: by the organisers' mask zip, or by rule."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogColumns, LogFrames
from models.errors import InputError
from stages.evaluation.feathers import read_feather
from stages.evaluation.points import by_columns, v1_mask

Mask = NDArray[np.bool_]
_DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True)
class MaskZip:
    """An open zip with one column `mask` for each scored sweep, `<log_id>/<timestamp_ns>.feather`.

    Attributes:
        path: the zip.
        archive: the same, open: finding an entry among thousands costs more than reading it.
        log_stamps: times of the sweeps of each log that have a mask, ascending, nanoseconds.
    """

    path: Path
    archive: zipfile.ZipFile
    log_stamps: Mapping[str, list[int]]

    def stamps(self, log_id: str) -> list[int]:
        """Times of the sweeps of a log that have a mask, ascending, nanoseconds."""
        return self.log_stamps.get(log_id, [])

    def mask(self, frames: LogFrames, t: int) -> Mask:
        """Mask of one sweep (N,); InputError if it is not in the zip, is damaged or has another number of rows."""
        name = f"{frames.log_id}/{int(frames.timestamp_ns[t])}.feather"
        try:
            content = self.archive.read(name)
        except KeyError:
            raise InputError(f"{self.path} has no mask {name}; take the zip of this split") from None
        except _DAMAGE as error:
            raise InputError(f"{self.path}, {name} cannot be read ({error}); fetch the mask zip again") from error
        mask = read_feather(content, f"{self.path}, {name}", ("mask",))["mask"].astype(np.bool_)
        rows = frames.span(t)
        if len(mask) != rows.stop - rows.start:
            raise InputError(
                f"{self.path}, {name}: the mask has {len(mask)} rows and the sweep {rows.stop - rows.start} points; "
                "take the zip of this release of the data"
            )
        return mask


@contextmanager
def open_masks(path: Path | None) -> Iterator[MaskZip | None]:
    """The masks of a zip, or None where no zip is given; InputError if it is absent, damaged or of something else."""
    if path is None:
        yield None
        return
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise InputError(f"mask zip {path} does not exist; fetch it, or set mask_zip to null") from None
    except _DAMAGE as error:
        raise InputError(f"mask zip {path} cannot be read ({error}); fetch it again") from error
    with archive:
        stamps = _stamps(archive)
        if not stamps:
            raise InputError(f"{path} is no mask zip: it has no file <log_id>/<timestamp_ns>.feather; fetch it again")
        yield MaskZip(path, archive, stamps)


def _stamps(archive: zipfile.ZipFile) -> dict[str, list[int]]:
    stamps: dict[str, list[int]] = {}
    for name in archive.namelist():
        path = PurePosixPath(name)
        if len(path.parts) == 2 and path.suffix == ".feather" and path.stem.isdigit():
            stamps.setdefault(path.parent.name, []).append(int(path.stem))
    return {log: sorted(times) for log, times in stamps.items()}


def require_masks(path: Path | None) -> None:
    """Raise InputError if a mask zip is named and cannot be used; cheap, so that it can be done before the work."""
    with open_masks(path):
        pass


def ground_rows(ground: LogColumns, rows: slice, name: str) -> Mask:
    """A ground mask of some rows: the named one, or the one that stands in for it in a log without a map  # (N,)."""
    column = ground.column(name if ground.has(name) else "ground")
    return np.asarray(column[rows], dtype=np.bool_)


def rule_mask(frames: LogFrames, ground: LogColumns, t: int) -> Mask:
    """Points of a frame that a v1 submission holds by rule: in the 100 m box and not ground  # (N,)."""
    return v1_mask(by_columns(frames.xyz(t)), ground_rows(ground, frames.span(t), "ground_v1"))
