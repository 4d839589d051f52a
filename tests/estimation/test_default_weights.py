# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The weights that come with the project: small, readable, as their card says; and how they are replaced."""

import importlib
import json
from pathlib import Path

import pytest

from models.errors import InputError
from models.weights import load_weights
from stages.estimation.default_weights import DEFAULT, adopt
from stages.pipeline.code import ROOT
from stages.pipeline.digest import file_digest

CARD = DEFAULT.with_name("README.md")


def test_they_are_small_and_their_card_is_theirs() -> None:
    assert DEFAULT.stat().st_size <= 4_000_000
    assert f"`{file_digest(DEFAULT)}`" in CARD.read_text()
    network, description = load_weights(DEFAULT)
    assert f"x, y {network.grid.minimum[0]:g} to {network.grid.maximum[0]:g} m" in CARD.read_text()
    assert description["frame"] == "ego"


def test_the_folder_does_not_hide_the_module() -> None:
    """models/weights.py and the folder models/weights: a module comes before a folder without __init__.py."""
    assert DEFAULT.parent == ROOT / "models/weights" and not (DEFAULT.parent / "__init__.py").exists()
    module = importlib.import_module("models.weights")
    assert Path(str(module.__file__)) == ROOT / "models/weights.py"
    assert callable(module.load_weights)


def metrics(folder: Path, digest: str) -> Path:
    scores = json.loads((ROOT / "metrics/val.json").read_text())
    scores["provenance"]["weights_digest"] = digest
    path = folder / "val.json"
    path.write_text(json.dumps(scores))
    return path


def test_replacing_copies_and_describes(tmp_path: Path) -> None:
    scored = metrics(tmp_path, file_digest(DEFAULT))
    digest = adopt(DEFAULT, scored, tmp_path / "new/default.safetensors", "av2")
    assert (tmp_path / "new/default.safetensors").read_bytes() == DEFAULT.read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["README.md", "default.safetensors"]
    text = (tmp_path / "new/README.md").read_text()
    assert digest in text and "data: av2" in text


def test_weights_that_nobody_scored_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scored other weights than .*; run `dvc repro`"):
        adopt(DEFAULT, metrics(tmp_path, "0" * 64), tmp_path / "new/default.safetensors", "simulated")
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        adopt(DEFAULT, tmp_path / "none.json", tmp_path / "new/default.safetensors", "simulated")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "spoilt",
    [
        {"model": None},
        {"nearest": {"bucketed": {}}},
        {"model": {"bucketed": {"dynamic": {"mean": None}}}},
        {"provenance": None},
    ],
)
def test_a_split_without_scores_changes_nothing(spoilt: dict, tmp_path: Path) -> None:
    """An unannotated split has no scores: weights and card stay as they were."""
    path = metrics(tmp_path, file_digest(DEFAULT))
    path.write_text(json.dumps({**json.loads(path.read_text()), **spoilt}))
    (tmp_path / "new").mkdir()
    for name in ("default.safetensors", "README.md"):
        (tmp_path / "new" / name).write_text("as before")
    with pytest.raises(InputError, match=r"has no scores of model and nearest; run `dvc repro` on an annotated"):
        adopt(DEFAULT, path, tmp_path / "new/default.safetensors", "simulated")
    assert {file.name: file.read_text() for file in (tmp_path / "new").iterdir()} == {
        "default.safetensors": "as before",
        "README.md": "as before",
    }


def test_a_card_that_cannot_be_written_leaves_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = metrics(tmp_path, file_digest(DEFAULT))
    adopt(DEFAULT, scored, tmp_path / "new/default.safetensors", "av2")
    before = {file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()}

    def full(path: Path, text: str, **_: object) -> int:
        path.write_bytes(text[:10].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        adopt(DEFAULT, scored, tmp_path / "new/default.safetensors", "simulated")
    assert {file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()} == before


def test_weights_too_large_for_git_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.estimation.default_weights._LARGEST", 1000)
    with pytest.raises(InputError, match="bytes, more than the 1,000 that are kept in git"):
        adopt(DEFAULT, metrics(tmp_path, file_digest(DEFAULT)), tmp_path / "new/default.safetensors", "simulated")
