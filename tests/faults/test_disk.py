# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A disk that is full or read-only at any write: one sentence, nothing half-written, and the next run is right."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.pipeline.code import ROOT
from tests.faults.writers import WRITERS

RUN = f"{sys.executable} -m"
FULL = "the disk is full: free some space"


def can_mount() -> bool:
    """Whether we may mount a disk of our own, as root or in a name space of our own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not can_mount(), reason="may not mount a small disk here (unshare -rm)")


def session(folder: Path, script: str, **environment: str) -> str:
    """A shell script in a name space with mounts of its own; what it says."""
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCENEFLOW_WORKERS": "1",
            "RUN": f"{sys.executable} -m",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return result.stdout


def answer(text: str, name: str) -> str:
    return text.partition(f"{name}:")[2].partition("\n")[0].strip()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_store(writer: str, tmp_path: Path) -> None:
    """One megabyte for a result of four, then enough."""
    (tmp_path / "store").mkdir()
    text = session(
        tmp_path,
        f"""
        mount -t tmpfs -o size=1m tmpfs store
        $RUN tests.faults.writers {writer}; echo first: $?
        echo entries: $(ls store/fill | wc -l)
        ls -d out; mount -o remount,size=64m store
        $RUN tests.faults.writers {writer}; echo second: $?
        cp -r out kept
        """,
        SCENEFLOW_STORE=str(tmp_path / "store"),
    )
    assert answer(text, "first") == "1"
    assert FULL in text
    assert "Traceback" not in text
    assert answer(text, "entries") == "0"  # nothing is left of the attempt
    assert answer(text, "second") == "0"
    assert digest(tmp_path / "kept/one.bin") == reference(writer, tmp_path)


def reference(writer: str, folder: Path) -> str:
    path = folder / "numbers.bin"  # the name in the store: torch writes it into its files
    WRITERS[writer](path)
    return digest(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_full_disk_where_the_output_lies(tmp_path: Path) -> None:
    """The store lies elsewhere, so the output is copied, and that is what does not fit; the result is not lost."""
    (tmp_path / "disk").mkdir()
    text = session(
        tmp_path,
        """
        mount -t tmpfs -o size=1m tmpfs disk; cd disk
        $RUN tests.faults.writers bytes; echo first: $?
        ls -d out; mount -o remount,size=64m .
        $RUN tests.faults.writers bytes; echo second: $?
        cp out/one.bin ../kept.bin
        echo left: $(ls -A)
        """,
        SCENEFLOW_STORE=str(tmp_path / "store"),
    )
    assert answer(text, "first") == "1"
    assert FULL in text
    assert "Traceback" not in text
    assert answer(text, "second") == "0"
    assert "1 from the store" in text
    assert answer(text, "left") == "out"
    assert digest(tmp_path / "kept.bin") == reference("bytes", tmp_path)


def test_a_read_only_disk(tmp_path: Path) -> None:
    """Outputs, then the store too: told, and as before once it is writable."""
    (tmp_path / "disk").mkdir()
    text = session(
        tmp_path,
        """
        mount -t tmpfs tmpfs disk; cd disk; mkdir out; echo old > out/old; mount -o remount,ro .
        $RUN tests.faults.writers bytes; echo first: $?
        SCENEFLOW_STORE=$PWD/store $RUN tests.faults.writers bytes; echo second: $?
        echo still: $(cat out/old); mount -o remount,rw .
        $RUN tests.faults.writers bytes; echo third: $?
        cp out/one.bin ../kept.bin
        """,
        SCENEFLOW_STORE=str(tmp_path / "store"),
    )
    assert [answer(text, name) for name in ("first", "second", "third")] == ["1", "1", "0"]
    assert text.count("the file system is read-only") == 2
    assert "Traceback" not in text
    assert answer(text, "still") == "old"
    assert digest(tmp_path / "kept.bin") == reference("bytes", tmp_path)
