# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a file is the object that S3 has: its size and its ETag, which is an MD5 or an MD5 of the parts' MD5s."""

import hashlib
import re
from pathlib import Path

_MIB = 2**20
_USUAL_PARTS = (8 * _MIB, 16 * _MIB, 5 * _MIB, 50 * _MIB, 64 * _MIB)  # what the usual tools upload in
_ETAG = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]*))?")


def intact(path: Path, size: int, etag: str) -> bool:
    """Whether a file exists with this size and this ETag.

    An ETag of another form, as encrypted objects have, says nothing of the content: then the size decides.
    """
    if not path.is_file() or path.stat().st_size != size:
        return False
    form = _ETAG.fullmatch(etag.lower())
    if form is None:
        return True
    digest, parts = form.groups()
    if parts is None:
        return _md5(path, size)[0].hex() == digest
    return any(_etag_of_parts(path, length) == etag.lower() for length in part_lengths(size, int(parts)))


def part_lengths(size: int, parts: int) -> list[int]:
    """Lengths in bytes, whole MiB and the usual ones first, that cut a file of `size` bytes into `parts`."""
    if parts == 1:
        return [max(size, 1)]
    least, most = -(-size // parts), (size - 1) // (parts - 1)
    lengths = range(-(-least // _MIB) * _MIB, most + 1, _MIB)
    return sorted(lengths, key=lambda length: (length not in _USUAL_PARTS, length))


def _etag_of_parts(path: Path, length: int) -> str:
    digests = _md5(path, length)
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def _md5(path: Path, length: int) -> list[bytes]:
    """MD5 of each part of a file, at least of one."""
    digests: list[bytes] = []
    with path.open("rb") as file:
        while True:
            part = file.read(length)
            if digests and not part:
                return digests
            digests.append(hashlib.md5(part, usedforsecurity=False).digest())
