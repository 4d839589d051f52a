# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The log-at-a-time store: each log's result under the digest of all that determines it.

An entry is a folder `<store>/<step>/<key>` with the files of one log and a manifest of their digests. It appears
by a rename when it is complete, so whatever is in it can be trusted; a stage that was killed finds the finished
logs there. Results are hard-linked into the stage's output, which costs no second copy.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.pipeline.digest import path_digests

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Store:
    """Entries of one step.

    Attributes:
        folder: `<store>/<step>`.
    """

    folder: Path

    def entry(self, key: str) -> Path:
        """Folder of an entry, whether it exists or not."""
        return self.folder / key

    def intact(self, key: str) -> bool:
        """Whether an entry exists with every file as it was written.

        A damaged entry is named on standard error and removed, so that it is computed again.
        """
        entry = self.entry(key)
        if not entry.exists():
            return False
        try:
            expected = json.loads((entry / MANIFEST).read_text())
        except (OSError, ValueError):
            expected = None
        found = path_digests(entry)
        found.pop(MANIFEST, None)
        if found == expected:
            with contextlib.suppress(PermissionError):  # another user's; only `make prune` looks at it
                os.utime(entry)  # when it was last used
            return True
        sys.stderr.write(f"warning: {entry} is damaged; computing it again\n")
        remove(entry)
        return False

    def use_file(self) -> Path:
        """File that a stage at work on the step holds locked, shared; `make prune` wants it for itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / ".in_use"

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep every entry from being pruned, found ones too, until they are linked into the output."""
        # Reading is all that a shared lock needs, and all that is allowed where another user made the file.
        with os.fdopen(os.open(self.use_file(), os.O_RDONLY | os.O_CREAT, 0o666)) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def claim(self, key: str, message: str = "") -> Iterator[None]:
        """Hold the key while its entry is looked up or computed.

        A second process waits here, after a message where one is given, and then finds the entry. The lock belongs
        to the open file, so it ends with the process however that dies.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{key}.lock"
        while True:
            with path.open("w") as lock:
                _lock(lock.fileno(), message)
                if not _same_file(path, lock.fileno()):
                    continue  # the holder before us removed the name; claim the new one
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return

    def workspace(self, key: str) -> Path:
        """A fresh folder to write the entry's files in; what a killed run left there is removed."""
        folder = self.folder / f"{key}.partial"
        remove(folder)
        folder.mkdir(parents=True)
        return folder

    def commit(self, key: str, workspace: Path) -> None:
        """Make the files of a workspace the entry: record their digests, make them read-only, rename.

        All is on the disk before the rename: after a power cut an entry is complete or not there, and so are its links.
        """
        (workspace / MANIFEST).write_text(json.dumps(path_digests(workspace), indent=0, sort_keys=True))
        for path in (*workspace.rglob("*"), workspace):
            if path.is_file():
                path.chmod(0o444)
            _to_disk(path)
        workspace.rename(self.entry(key))

    def files(self, key: str) -> Mapping[str, Path]:
        """Top-level files and folders of an entry by name, the manifest left out."""
        return {path.name: path for path in sorted(self.entry(key).iterdir()) if path.name != MANIFEST}


def _lock(descriptor: int, message: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if message:
            sys.stderr.write(f"{message}\n")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _to_disk(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Hard-link a file or every file of a folder; copied where the store lies on another file system."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for child in sorted(source.iterdir()):
            link(child, target / child.name)
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copy2(source, target)
