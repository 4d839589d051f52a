# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The command in this process."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from stages.estimate import main


class Result(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def estimate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """`python -m stages.estimate` with these arguments."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["estimate", *map(str, arguments)])
        capsys.readouterr()
        code = main()
        return Result(code, *capsys.readouterr())

    return run
