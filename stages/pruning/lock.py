# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Which entries of the store the current dvc.lock uses: those whose files lie in the outputs that it names."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from models.errors import InputError
from stages.pipeline.store import MANIFEST
from stages.pruning.items import Item
from stages.tracking.chain import read_lock

Sizes = dict[int | None, set[str]]  # MD5s by size in bytes; None: of those that the cache lacks


def used_by_lock(found: Iterable[Item], cache: Path) -> set[Path]:
    """Entries whose files all lie in outputs of dvc.lock, and all entries of a step that has no such entry.

    A step that joins its logs' results into new files, as a table, leaves no trace of an entry in its output; so its
    entries count as used. So does a file that the lock names and the cache lacks: the store may hold the last copy.

    Args:
        found: items of the store.
        cache: DVC's cache, which holds the lists of the files of each output.

    Raises:
        InputError: if the cache lacks such a list.
    """
    entries = [item for item in found if item.kind == "entry"]
    objects = _objects(cache)
    used = {item.path for item in entries if _lies_in(item.path, objects)}
    seen = {path.parent for path in used}
    return used | {item.path for item in entries if item.path.parent not in seen}


def _objects(cache: Path) -> Sizes:
    """MD5s of all files of the outputs that dvc.lock names, by their sizes in the cache."""
    digests: set[str] = set()
    for link in read_lock().values():
        for output, digest in link.outputs.items():
            digests |= _listed(cache, output, digest) if digest.endswith(".dir") else {digest}
    sizes: Sizes = {}
    for digest in digests:
        path = _object(cache, digest)
        size = path.stat().st_size if path.exists() else None
        sizes.setdefault(size, set()).add(digest)
    return sizes


def _listed(cache: Path, output: str, digest: str) -> set[str]:
    try:
        return {file["md5"] for file in json.loads(_object(cache, digest).read_text())}
    except FileNotFoundError:
        text = f"dvc.lock names {output} but the cache {cache} lacks it, so what is unused cannot be told"
        raise InputError(f"{text}; run `dvc repro` or `dvc fetch`") from None


def _object(cache: Path, digest: str) -> Path:
    return cache / "files/md5" / digest[:2] / digest[2:]


def _lies_in(entry: Path, objects: Sizes) -> bool:
    files = [file for file in entry.rglob("*") if file.is_file() and file.name != MANIFEST]
    missing = objects.get(None, set())
    sized = [(file, objects.get(file.stat().st_size, set()) | missing) for file in files]
    return all(possible for _, possible in sized) and all(_md5(file) in possible for file, possible in sized)


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def cache_folder() -> Path:
    """DVC's cache of this project."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return Path(repo.cache.local.path).parents[1]
    except DvcException as error:
        raise InputError(f"DVC cannot read the project: {error}") from error
