# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a raw log, read once and checked against the catalog while they are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError
from stages.sources.catalog import Entry, content_entry


@dataclass(frozen=True)
class LogFiles:
    """A raw log's files and what the catalog says of them.

    Attributes:
        log_id: id of the log.
        folder: the folder that file names are relative to.
        entry: the log's catalog entry.
        digest: the catalog's digest rule.
        is_sweep: whether a file holds one sweep.
    """

    log_id: str
    folder: Path
    entry: Entry
    digest: str
    is_sweep: Callable[[str], bool]

    def check_folder(self) -> None:
        """Raise InputError if the log's folder is gone."""
        if not self.folder.is_dir():
            raise InputError(f"log {self.log_id} is in the catalog but not at {self.folder}; run `make catalog`")

    def check_names(self, names: Sequence[str]) -> None:
        """Raise InputError if the files that are there now are not those of the catalog."""
        found, wanted = set(names), set(self.entry)
        for different, verb in ((wanted - found, "is gone"), (found - wanted, "is new")):
            if different:
                raise InputError(
                    f"log {self.log_id}: {min(different)} {verb} since the catalog was made; run `make catalog`"
                )

    def has(self, name: str) -> bool:
        """Whether the log has this file."""
        return name in self.entry

    def read(self, name: str) -> bytes:
        """Bytes of a file; InputError if the log lacks it or it changed since the catalog was made."""
        if name not in self.entry:
            raise InputError(f"log {self.log_id} has no {name}; fetch it, then run `make catalog`")
        content = (self.folder / name).read_bytes()
        if tuple(self.entry[name]) != content_entry(content, self.digest, self.is_sweep(name)):
            raise InputError(f"log {self.log_id}: {name} changed since the catalog was made; run `make catalog`")
        return content
