# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes and ETags, by hand."""

import hashlib
from pathlib import Path

import pytest

from stages.fetching.etag import intact, part_lengths

MIB = 2**20


def test_a_plain_etag_is_the_md5_of_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"hello")
    assert intact(file, 5, "5d41402abc4b2a76b9719d911017c592")
    assert not intact(file, 5, "5d41402abc4b2a76b9719d911017c593")
    assert not intact(file, 6, "5d41402abc4b2a76b9719d911017c592")
    assert not intact(tmp_path / "b", 5, "5d41402abc4b2a76b9719d911017c592")
    assert intact(file, 5, "an-encrypted-object")  # says nothing of the content


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert intact(tmp_path / "a", 0, "d41d8cd98f00b204e9800998ecf8427e")


@pytest.mark.parametrize("length", [8 * MIB, 5 * MIB, 7 * MIB])
def test_an_etag_of_parts(length: int, tmp_path: Path) -> None:
    content = bytes(range(256)) * (2 * length // 256) + b"the last part"
    parts = [content[:length], content[length : 2 * length], content[2 * length :]]
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    file = tmp_path / "a"
    file.write_bytes(content)
    assert intact(file, len(content), f"{whole}-3")
    file.write_bytes(content[:-1] + b"!")
    assert not intact(file, len(content), f"{whole}-3")


def test_lengths_that_parts_can_have() -> None:
    assert part_lengths(10, 1) == [10]
    assert part_lengths(16 * MIB + 1, 3)[0] == 8 * MIB
    assert part_lengths(17 * MIB, 3) == [8 * MIB, 6 * MIB, 7 * MIB]  # 6 + 6 + 5, 7 + 7 + 3, 8 + 8 + 1
    assert part_lengths(10, 2) == []  # no whole MiB: such an ETag is refused
