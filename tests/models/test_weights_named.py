# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What `predict.weights` may name, and what is said of the rest; what a training says beside its bar."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import InputError
from models.training.parameters import TrainParameters
from models.weights import load_weights
from stages.learning.predict import weights_file
from stages.learning.train import train_flow


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


def test_a_batch_beyond_all_pairs_and_a_finished_training_are_told(
    data: Path,
    tmp_path: Path,
    parameters: TrainParameters,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SCENEFLOW_DEVICE", "cpu")
    large = replace(parameters, batch=1000, epochs=1)
    train_flow(data, tmp_path / "a/flow.safetensors", tmp_path / "a/curves", large)
    assert "note: train.batch is 1000 and there are " in capsys.readouterr().err
    train_flow(data, tmp_path / "b/flow.safetensors", tmp_path / "b/curves", large)
    assert capsys.readouterr().err == "train: these weights were trained before, and are in the store\n"
    assert (tmp_path / "a/flow.safetensors").read_bytes() == (tmp_path / "b/flow.safetensors").read_bytes()
