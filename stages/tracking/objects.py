# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Objects of DVC's cache against their names, which are the digests of their bytes.

DVC takes a read-only object for good without reading it, so a disk's fault or a program that wrote through a hard
link is never noticed and is handed on by every checkout.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import InputError

if TYPE_CHECKING:
    from dvc.repo import Repo

_NAME = re.compile(r"^[0-9a-f]{30}(\.dir)?$")


def objects(repo: Repo) -> list[Path]:
    """Every complete object of the local cache, sorted."""
    top = Path(repo.cache.local.path)
    return sorted(path for path in top.glob("[0-9a-f][0-9a-f]/*") if _NAME.match(path.name))


def is_damaged(path: Path) -> bool:
    """Whether an object is not what its name says, or its disk cannot read it (EIO); InputError if we may not."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        if error.errno == errno.EIO:
            return True
        raise InputError(f"{path} cannot be read ({error.strerror}), so nothing was judged; mend that first") from error
    return digest != (path.parent.name + path.name).removesuffix(".dir")


def links_to(paths: list[Path], folder: Path) -> Iterator[Path]:
    """Files below a folder that are one and the same file as one of `paths`, or symbolic links to it."""
    wanted = {(stat.st_dev, stat.st_ino) for stat in (path.stat() for path in paths)}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ((stat := path.stat()).st_dev, stat.st_ino) in wanted:
            yield path


def remove(paths: list[Path]) -> None:
    """Remove files; InputError naming the first that may not go."""
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise InputError(f"{path} is damaged and cannot be removed ({error.strerror}); remove it") from error
