# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What `predict.weights` may name, and what is said of the rest."""

from pathlib import Path

import pytest

from models.errors import InputError
from models.weights import load_weights
from stages.learning.predict import weights_file


def test_what_predict_takes_for_weights(tmp_path: Path) -> None:
    file = tmp_path / "flow.safetensors"
    with pytest.raises(
        InputError, match=r"predict\.weights .*/flow\.safetensors does not exist; run `dvc repro`, or name"
    ):
        weights_file(tmp_path)
    file.touch()
    assert weights_file(tmp_path) == weights_file(file) == file
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.touch()
    with pytest.raises(InputError, match=r"best\.ckpt is no weights file .*stages\.weights import .*best\.ckpt FILE"):
        weights_file(checkpoint)
    with pytest.raises(InputError, match=r"predict\.weights none\.safetensors does not exist"):
        weights_file(Path("none.safetensors"))
    with pytest.raises(InputError, match=r"is a folder; name the weights file in it, as .*/flow\.safetensors"):
        load_weights(tmp_path)
