# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a raw log, read once and checked against the catalog while they are read."""

from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError
from stages.av2.catalog import Entry, content_entry
from stages.av2.layout import SWEEPS, read_files


@dataclass(frozen=True)
class RawLog:
    """A log folder and what the catalog says of it.

    Attributes:
        folder: the log folder.
        entry: its catalog entry.
        digest: the catalog's digest rule.
    """

    folder: Path
    entry: Entry
    digest: str

    @property
    def log_id(self) -> str:
        """Id of the log."""
        return self.folder.name

    def check_names(self) -> None:
        """Raise InputError if files that this project reads came or went since the catalog was made."""
        if not self.folder.is_dir():
            raise InputError(f"log {self.log_id} is in the catalog but not at {self.folder}; run `make catalog`")
        found, wanted = set(read_files(self.folder)), set(self.entry)
        for names, verb in ((wanted - found, "is gone"), (found - wanted, "is new")):
            if names:
                raise InputError(
                    f"log {self.log_id}: {min(names)} {verb} since the catalog was made; run `make catalog`"
                )

    def has(self, name: str) -> bool:
        """Whether the log has this file."""
        return name in self.entry

    def read(self, name: str) -> bytes:
        """Bytes of a file; InputError if the log lacks it or it changed since the catalog was made."""
        if name not in self.entry:
            raise InputError(f"log {self.log_id} has no {name}; fetch it, then run `make catalog`")
        content = (self.folder / name).read_bytes()
        if tuple(self.entry[name]) != content_entry(content, name, self.digest):
            raise InputError(f"log {self.log_id}: {name} changed since the catalog was made; run `make catalog`")
        return content

    def sweeps(self) -> list[str]:
        """Names of the sweeps in the order of their timestamps."""
        return sorted((n for n in self.entry if n.startswith(f"{SWEEPS}/")), key=lambda name: int(Path(name).stem))

    def only(self, ending: str, middle: str) -> str | None:
        """The one map file whose name holds `middle` and ends so, None if there is none; InputError if several."""
        names = [
            name for name in sorted(self.entry) if name.startswith("map/") and middle in name and name.endswith(ending)
        ]
        if len(names) > 1:
            raise InputError(f"log {self.log_id} has {len(names)} files map/*{middle}*{ending}; keep one of them")
        return names[0] if names else None
