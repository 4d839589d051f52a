# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Official masks of leaderboard v1, from the zip that the organisers give."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.logfile import LogFrames
from models.errors import InputError


@dataclass(frozen=True)
class MaskZip:
    """A zip with one column `mask` for each scored sweep, `<log_id>/<timestamp_ns>.feather`.

    Attributes:
        path: the zip.
    """

    path: Path

    @classmethod
    def open(cls, path: Path | None) -> "MaskZip | None":
        """The masks of a zip, or None where no zip is given."""
        return None if path is None else cls(path)

    def stamps(self, log_id: str) -> list[int]:
        """Times of the sweeps of a log that have a mask, ascending, nanoseconds."""
        with zipfile.ZipFile(self.path) as archive:
            names = [Path(name) for name in archive.namelist() if name.endswith(".feather")]
        return sorted(int(name.stem) for name in names if name.parent.name == log_id)

    def mask(self, frames: LogFrames, t: int) -> NDArray[np.bool_]:
        """Mask of one sweep (N,); InputError if it is not in the zip or has another number of rows."""
        import pyarrow.feather as feather

        name = f"{frames.log_id}/{int(frames.timestamp_ns[t])}.feather"
        try:
            with zipfile.ZipFile(self.path) as archive:
                table = feather.read_table(io.BytesIO(archive.read(name)))
        except KeyError:
            raise InputError(f"{self.path} has no mask {name}; take the zip of this split") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path} cannot be read ({error}); fetch the mask zip again") from error
        mask: NDArray[np.bool_] = table["mask"].to_numpy(zero_copy_only=False).astype(np.bool_)
        rows = frames.span(t)
        if len(mask) != rows.stop - rows.start:
            raise InputError(
                f"{self.path}, {name}: the mask has {len(mask)} rows and the sweep {rows.stop - rows.start} points; "
                "take the zip of this release of the data"
            )
        return mask
