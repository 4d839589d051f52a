# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Take the weights of the pipeline's last run as the default ones of `stages.estimate`, with a card beside them."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import InputError
from stages.frames.write import atomic
from stages.pipeline.digest import file_digest
from stages.pipeline.parameters import read_parameters
from stages.pipeline.source import DataParameters
from stages.terminal.interrupt import run_command

DEFAULT = Path(__file__).parents[2] / "models/weights/default.safetensors"
_TRAINED, _METRICS = Path("data/weights/flow.safetensors"), Path("metrics/val.json")
_LARGEST = 4_000_000  # bytes: git keeps every version
_UNSCORED = "{} has no scores of model and nearest; run `dvc repro` on an annotated val split, then this again"

_CARD = """\
# Default weights

`default.safetensors` is what `python -m stages.estimate` takes unless `--weights` names another file.
`make default-weights` replaces it by the weights of the last `dvc repro`, and writes this card.

| | |
|---|---|
| SHA-256 | `{digest}` |
| trained | {trained}; on {trained_on}; data: {source} |
| sees | x, y {low[0]:g} to {high[0]:g} m, z {low[2]:g} to {high[2]:g} m, rear axle's frame; pillars {voxel:g} m |
| mean Dynamic, val split | {mean:.3f} ({classes}) |
| beside it | nearest neighbour {nearest:.3f}, ego motion 1.000 |

**Good for** trying the command, and for a first look at what moves around a car with a lidar of 10 Hz. It is a small
network that learned without labels from the data named above; a class whose error is near 1 gets hardly more than ego
motion. **Not good for** numbers about your data, other rates than 10 Hz, indoor or few-beam sensors: train on your own
logs (`make repro`) and give those weights.
"""


def adopt(trained: Path, metrics: Path, default: Path, source: str) -> str:
    """Copy weights and write the card beside them, README.md; if anything fails both stay as they were.

    Args:
        trained: the weights file.
        metrics: the metric file that scored it.
        default: where to put it.
        source: what the data were, as `data.source` has it.

    Returns:
        Its SHA-256.

    Raises:
        InputError: the weights are unreadable, too large for git, or not those that the metric file scored, or it
            has no scores.
    """
    from models.weights import load_weights

    _, description = load_weights(trained)
    digest, size = file_digest(trained), trained.stat().st_size
    scores = _scores(metrics)
    if scores["provenance"].get("weights_digest") != digest:
        raise InputError(f"{metrics} scored other weights than {trained}; run `dvc repro`, then this again")
    if size > _LARGEST:
        raise InputError(f"{trained} has {size:,} bytes, more than the {_LARGEST:,} that are kept in git")
    text = _described(metrics, digest, description["architecture"], scores, source)
    with atomic(default) as weights, atomic(default.with_name("README.md")) as readme:
        weights.write_bytes(trained.read_bytes())
        if file_digest(weights) != digest:
            raise InputError(f"{trained} changed while it was copied; run this again")
        readme.write_text(text, encoding="utf-8")
    return digest


def card(digest: str, architecture: Mapping[str, Any], scores: Mapping[str, Any], source: str) -> str:
    """The text of the card."""
    dynamic = dict(scores["model"]["bucketed"]["dynamic"])
    mean = dynamic.pop("mean")
    return _CARD.format(
        digest=digest,
        trained=scores["provenance"]["trained"],
        trained_on=scores["provenance"]["trained_on"],
        source=source,
        low=architecture["range"][:3],
        high=architecture["range"][3:],
        voxel=architecture["voxel"],
        logs=scores["protocol"]["logs"],
        mean=mean,
        classes=", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in dynamic.items()),
        nearest=scores["nearest"]["bucketed"]["dynamic"]["mean"],
    )


def _described(
    metrics: Path, digest: str, architecture: Mapping[str, Any], scores: Mapping[str, Any], source: str
) -> str:
    try:
        return card(digest, architecture, scores, source)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(_UNSCORED.format(metrics)) from error


def _scores(path: Path) -> dict[str, Any]:
    try:
        scores: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run `dvc repro`") from error
    if not isinstance(scores, dict) or not isinstance(scores.get("provenance"), dict):
        raise InputError(_UNSCORED.format(path))
    return scores


def main() -> int:
    """Replace the default weights."""
    try:
        source = read_parameters("data", DataParameters).source
        digest = adopt(_TRAINED, _METRICS, DEFAULT, source)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{DEFAULT.parent} now holds weights {digest[:12]}; commit them\n")
    return 0


if __name__ == "__main__":
    run_command(main)
