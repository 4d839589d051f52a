# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The shared remote: what it lacks, and sending what others need in order to run nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError

if TYPE_CHECKING:
    from dvc.repo import Repo


def not_in_remote(repo: Repo) -> tuple[str | None, list[str]]:
    """Name of the default remote, None where there is none, and a sentence for each output in the lock that it lacks.

    Of a folder of which the remote holds the list, each missing file is named; a list that is damaged there is, too.
    """
    name = repo.config["core"].get("remote")
    if not name:
        return None, []
    _require_reachable(repo)
    stages = sorted(repo.index.stages, key=lambda stage: str(stage.addressing))
    outs = [out for stage in stages for out in stage.outs if out.use_cache and out.hash_info]
    return str(name), [line for out in outs for line in _lacking(repo, out, str(name))]


def _require_reachable(repo: Repo) -> None:
    """Raise what the remote's client raises: asked whether an object exists, S3's says no if nobody answers."""
    remote = repo.cloud.get_remote_odb()
    try:
        remote.fs.ls(remote.path, detail=False)
    except FileNotFoundError:
        pass  # nothing was sent yet


def _lacking(repo: Repo, out: Any, name: str) -> Iterator[str]:
    remote = repo.cloud.get_remote_odb(hash_name=out.hash_name)
    missing = f"is not in remote {name!r}; run `make push`"
    if not remote.exists(out.hash_info.value):
        yield f"{out} {missing}"
    elif out.hash_info.isdir:
        files = _files(remote, out.hash_info.value)
        if files is None:
            remedy = f"remove {remote.oid_to_path(out.hash_info.value)}, then `make push`"
            yield f"{out} cannot come from remote {name!r} (its list is damaged there); {remedy}"
            return
        held = set(remote.list_oids_exists(set(files.values())))
        yield from (f"{out}/{path} {missing}" for path, digest in files.items() if digest not in held)


def _files(remote: Any, digest: str) -> dict[str, str] | None:
    """Digest of each file of a folder by path, as the remote's list has it; None where the list is damaged."""
    with remote.fs.open(remote.oid_to_path(digest), "rb") as file:
        content = file.read()
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != digest.removesuffix(".dir"):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def push(repo: Repo, everything: bool) -> int:
    """Send artifacts, run cache and metric files to the default remote.

    `dvc push --run-cache` sends which inputs gave which outputs, but no copy of the metric files, as these lie in
    git: elsewhere their stages would run again for a result that was only tried.

    Args:
        repo: the project.
        everything: also what experiments and earlier runs left in this cache, and not the present state alone.

    Returns:
        Number of objects sent; what the remote had already does not count.

    Raises:
        InputError: some could not be sent.
    """
    _require_reachable(repo)
    repo.stage_cache.push(None)  # to the default remote
    sent = int(repo.push())
    objects = _recorded(repo) if everything else _metric_files(repo)
    result = repo.cloud.push({found for found in objects if repo.cache.local.exists(found.value)})
    if result.failed:
        raise InputError(f"{len(result.failed)} objects could not be sent; see DVC's messages above, then push again")
    return sent + len(result.transferred)


def _metric_files(repo: Repo) -> Iterator[Any]:
    """Hashes of the present metric files, of which the run cache keeps a copy."""
    for stage in repo.index.stages:
        yield from (out.hash_info for out in stage.outs if out.is_metric and out.hash_info)


def _recorded(repo: Repo) -> Iterator[Any]:
    """Hashes of all outputs that the run cache knows."""
    entries = [(file.parent.name, file.name) for file in Path(repo.stage_cache.cache_dir).glob("*/*/*")]
    for objects in repo.stage_cache.get_used_objs(entries).values():
        yield from objects


def remote_errors() -> tuple[type[Exception], ...]:
    """What DVC and the clients of the installed kinds of remote raise when it cannot be read or written."""
    from dvc.exceptions import DvcException

    found: list[type[Exception]] = [DvcException, OSError]
    try:
        from botocore.exceptions import BotoCoreError

        found.append(BotoCoreError)
    except ImportError:
        pass
    try:
        from asyncssh import Error

        found.append(Error)
    except ImportError:
        pass
    return tuple(found)
