# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
import os
import sys

import pytest

from stages.labels.silence import silenced


def test_only_the_block_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    print("before", end=" ")
    with silenced():
        os.write(1, b"lost")
        os.write(2, b"lost")
    print("after")
    sys.stdout.flush()
    os.write(2, b"error after")
    assert capfd.readouterr() == ("before after\n", "error after")


def test_streams_return_after_an_exception_and_no_handle_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    handles = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError), silenced():
        raise RuntimeError
    os.write(1, b"back")
    assert capfd.readouterr().out == "back"
    assert len(os.listdir("/proc/self/fd")) == handles
