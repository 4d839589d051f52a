# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A logger beside the pipeline's own that is not installed: the sentence says how to install it, and that works."""

import tomllib
from pathlib import Path

import pytest

from models.errors import InputError
from stages.learning.train import open_loggers
from stages.pipeline.code import ROOT
from stages.pipeline.compute import _CHOICES
from tests.docs.parsing import fault

LOGGERS = [name for name in _CHOICES["logger"] if name != "none"]


@pytest.mark.parametrize("name", LOGGERS)
def test_the_extra_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.learning.train.find_spec", lambda package: None if package == name else package)
    command = f".venv/bin/pip install -e '.[{name}]'"
    with pytest.raises(InputError) as caught:
        open_loggers(tmp_path / "curves", name, tmp_path / "live", "0123456789abcdef")
    assert str(caught.value) == f"compute setting logger is {name}, which is not installed; run `{command}`"
    assert fault(tuple(command.replace("'", "").split())) is None
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(requirement.startswith(name) for requirement in extras[name])
