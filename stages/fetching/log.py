# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One log from the bucket: what this project needs of it, checked file by file, under its name when complete."""

import threading
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError
from stages.av2.layout import ANNOTATIONS, CALIBRATION, POSES, SWEEPS
from stages.fetching.bucket import Bucket, RemoteFile
from stages.fetching.etag import intact
from stages.pipeline.space import check_space
from stages.pipeline.store import remove

_TRIES = 3


@dataclass(frozen=True)
class Fetch:
    """What the fetching of every log of a split shares.

    Attributes:
        bucket: the source.
        remote: the split's folder in it, as `sensor/val`.
        local: the split's folder on disk.
        stop: set to end early.
    """

    bucket: Bucket
    remote: str
    local: Path
    stop: threading.Event


def wanted_files(fetch: Fetch, log: str) -> list[RemoteFile]:
    """Sweeps, poses, mounts, boxes and map of a log: no cameras, which are nine tenths of it.

    Raises:
        InputError: if the bucket has no sweeps of the log.
    """
    base = f"{fetch.remote}/{log}/"
    sweeps = fetch.bucket.list(f"{base}{SWEEPS}/", recursive=True)[0]
    if not sweeps:
        raise InputError(f"log {log}: {fetch.bucket.endpoint} has no {SWEEPS} of it under {fetch.remote}")
    maps = fetch.bucket.list(f"{base}map/", recursive=True)[0]
    mounts = fetch.bucket.list(base + CALIBRATION, recursive=True)[0]
    top = fetch.bucket.list(base, recursive=False)[0]
    single = [file for file in top if file.key in (base + POSES, base + ANNOTATIONS)]
    return [file for file in (*single, *mounts, *maps, *sweeps) if not file.key.endswith("/")]


def fetch_log(fetch: Fetch, log: str, threads: Executor) -> int:
    """Bring a log to its folder and return how many files had to be fetched.

    The files gather in a hidden folder that takes the log's name when all have arrived as they are in the bucket. What
    is there already, from a run that was killed or in a log that lost a file, is checked and kept.

    Raises:
        InputError: if a file is damaged whenever it arrives, the disk lacks the space or the server fails.
    """
    files = wanted_files(fetch, log)
    final, partial = fetch.local / log, fetch.local / f".{log}.partial"
    base = f"{fetch.remote}/{log}/"
    if final.exists():
        lacking = _lacking(files, final, base, threads)
        if not lacking:
            return 0
        remove(partial)
        final.rename(partial)
    lacking = _lacking(files, partial, base, threads)
    partial.mkdir(parents=True, exist_ok=True)
    check_space(partial, sum(file.size for file in lacking), f"log {log}")
    list(threads.map(lambda file: _fetch_file(fetch, file, partial / file.key[len(base) :]), lacking))
    partial.rename(final)
    return len(lacking)


def _lacking(files: list[RemoteFile], folder: Path, base: str, threads: Executor) -> list[RemoteFile]:
    right = threads.map(lambda file: intact(folder / file.key[len(base) :], file.size, file.etag), files)
    return [file for file, is_right in zip(files, right, strict=True) if not is_right]


def _fetch_file(fetch: Fetch, file: RemoteFile, target: Path) -> None:
    """Fetch a file under a temporary name and rename it when its size and ETag are right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    for _ in range(_TRIES):
        _check_running(fetch)
        with temporary.open("wb") as output:
            for piece in fetch.bucket.read(file):
                _check_running(fetch)
                output.write(piece)
        if intact(temporary, file.size, file.etag):
            temporary.rename(target)
            return
    temporary.unlink()
    raise InputError(
        f"{file.key} arrived damaged {_TRIES} times: it has not the ETag {file.etag} that the bucket names"
    )


def _check_running(fetch: Fetch) -> None:
    if fetch.stop.is_set():
        raise InputError("fetching was stopped")
