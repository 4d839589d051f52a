# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Logs of a split from the bucket, several at once."""

import fcntl
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from models.errors import InputError
from stages.fetching.bucket import Bucket
from stages.fetching.log import Fetch, fetch_log, wanted_files
from stages.pipeline.logs import raise_failures
from stages.pipeline.pool import Failure
from stages.pipeline.progress import Progress
from stages.pipeline.space import check_space

_LOGS_AT_ONCE = 4
_MEASURED = 4  # logs from whose sizes that of all is estimated


def choose_logs(known: list[str], choice: str) -> list[str]:
    """Logs by a number (the first in the order of their ids), by ids with commas, or by a file with one id a line.

    Args:
        known: ids of the split.
        choice: as above; empty for all.

    Raises:
        InputError: if an id is not in the split, or the choice is nothing of that.
    """
    if not choice:
        return known
    if choice.isdecimal():
        if int(choice) < 1:
            raise InputError("the number of logs must be at least 1")
        return known[: int(choice)]
    listed = choice.split(",")
    # Not Path.is_file, to which a name that is too long, as seven ids are, is an error.
    if not set(listed) & set(known) and os.path.isfile(choice):
        listed = Path(choice).read_text().split()
    unknown = sorted(set(listed) - set(known))
    if unknown:
        raise InputError(f"the split has no log {unknown[0]!r}; give a number, ids with commas, or a file of ids")
    return sorted(set(listed))


def fetch_logs(bucket: Bucket, dataset: str, split: str, root: Path, choice: str, connections: int) -> tuple[int, int]:
    """Fetch logs into `root/dataset/split`; the number of logs and of the files that had to be fetched.

    Raises:
        InputError: naming every log that failed; the others are complete.
    """
    remote = f"{dataset}/{split}"
    known = sorted(bucket.list(f"{remote}/", recursive=False)[1])
    if not known:
        raise InputError(f"{bucket.endpoint} has no logs under {bucket.folder}{remote}")
    logs = choose_logs(known, choice)
    fetch = Fetch(bucket, remote, root / dataset / split, threading.Event())
    fetch.local.mkdir(parents=True, exist_ok=True)
    with _alone(fetch.local / ".download.lock"):
        _check_disk(fetch, logs)
        return len(logs), _fetch_all(fetch, logs, connections)


def _check_disk(fetch: Fetch, logs: list[str]) -> None:
    new = [log for log in logs if not (fetch.local / log).exists()]
    measured = new[:_MEASURED]
    if measured:
        size = sum(file.size for log in measured for file in wanted_files(fetch, log))
        check_space(fetch.local, size * len(new) // len(measured), f"{fetch.remote}, {len(new)} logs,")


def _fetch_all(fetch: Fetch, logs: list[str], connections: int) -> int:
    files, failures = 0, []
    with Progress(f"download {fetch.remote}", len(logs), 0) as progress, _threads(fetch, connections) as (outer, inner):
        futures = {outer.submit(fetch_log, fetch, log, inner): log for log in logs}
        for future in as_completed(futures):
            failure = _failure(future, futures[future])
            if failure is not None:
                failures.append(failure)
                continue
            files += future.result()
            progress.log_done(0, found=False)
    if failures:
        raise_failures(f"download failed for {len(failures)} of {len(logs)} logs (the others are complete)", failures)
    return files


@contextmanager
def _threads(fetch: Fetch, connections: int) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Threads for logs and for their files; an interrupt stops them in the middle of a file."""
    outer, inner = ThreadPoolExecutor(_LOGS_AT_ONCE), ThreadPoolExecutor(connections)
    try:
        yield outer, inner
    except BaseException:
        fetch.stop.set()
        raise
    finally:
        for threads in (outer, inner):
            threads.shutdown(wait=True, cancel_futures=True)


def _failure(future: Future[int], log: str) -> Failure | None:
    error = future.exception()
    if error is None:
        return None
    if isinstance(error, InputError):
        return Failure(log, str(error))
    if isinstance(error, OSError):
        return Failure(log, f"{error.strerror} ({error.filename})")
    raise error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two downloads into one folder would take each other's halves for their own."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another download is at work in {path.parent}; wait for it") from None
        yield
