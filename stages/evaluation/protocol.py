# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What was scored and how (protocol), and what made the prediction (provenance)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import InputError
from stages.evaluation.selection import Frames
from stages.evaluation.sources import Missing
from stages.pipeline.digest import file_digest, value_digest

METRIC_VERSION = 2
CHANGES = {
    1: "v1 pooled over points, all 38 numbers; v2 within 35 m and unlimited; v2's own three-way; range-wise in the "
    "ego frame without the 100 m box; OpenSceneFlow's local metrics with distances from the upper lidar",
    2: "as 1, but a group of OpenSceneFlow's three-way numbers that has points in no frame is absent, and the mean "
    "with it, where it was 0",
}

_MASKS = {
    "v1": "valid, not ground by the v1 rule, |x| and |y| <= 50 m in ego frame 0",
    "v2": "valid, not ground by the v2 rule, |x| and |y| < 48 m and |z| < 2.5 m in ego frame 1; near: < 35 m",
    "range": "valid, not ground by the v1 rule, any distance from the origin of ego frame 0",
    "opensceneflow": "v1 mask, not ground by the v1 rule; circle of 35 m around the upper lidar",
}
_GROUND = {"map": "height raster: v1 <= 0.3 m over the truncated cell, v2 <= 0.4 m over the rounded cell"}

_FRAMES = ("frames_v1", "frames_v2", "frames_imputed")

# Attributes of a predictions file that say which log it is and not what made it.
_OF_THE_LOG = ("schema", "log_id", "frames_digest", "split")


def catalog_digest(catalog: Path) -> str:
    """Digest of the scored split's catalog; InputError if there is none."""
    if not catalog.is_file():
        raise InputError(f"{catalog} does not exist; run `make catalog`, so that the score can say what was scored")
    return file_digest(catalog)


def protocol(
    catalog: str,
    frames: Frames,
    missing: Missing,
    scores: Mapping[str, Mapping[str, Any]],
    mask_zip: Path | None = None,
) -> dict[str, Any]:
    """All that must agree between two scores for them to be compared.

    Args:
        catalog: digest of the scored split's catalog.
        frames: which frames counted.
        missing: what was done with frames without prediction.
        scores: attributes of the file of the model's scores of each log.
        mask_zip: v1's official masks, where they were used.

    Raises:
        InputError: truth of different recipes.
    """
    masks = dict(_MASKS)
    if any(log["mask"] == "scene" for log in scores.values()):
        masks["v1"] = "valid, not ground, in the scene's eval_mask where it has one"
    if mask_zip is not None:
        masks["v1"] = f"valid, official mask zip {file_digest(mask_zip)[:32]}"
    return {
        "metric_version": METRIC_VERSION,
        "catalog": catalog,
        "frames": frames,
        "missing_frames": missing,
        "logs": len(scores),
        **{name: sum(int(log[name]) for log in scores.values()) for name in _FRAMES},
        "truth": _one({name: str(log["truth"]) for name, log in scores.items()}, "truth of recipe"),
        "ground": ground_text({name: (str(log["ground"]), str(log["ground_digest"])) for name, log in scores.items()}),
        "masks": masks,
    }


def ground_text(rules: Mapping[str, tuple[str, str]]) -> str:
    """The ground rule, and in how many logs another mask stands in because they have no map.

    Args:
        rules: of each log, its rule, and the digest of the mask where that is not by map: other settings of the same
            rule score other points.
    """
    parts = []
    for rule in sorted({rule for rule, _ in rules.values()}, key=lambda rule: (rule != "map", rule)):
        digests = {log: digest for log, (name, digest) in rules.items() if name == rule}
        if rule == "map":
            parts.append(_GROUND["map"])
            continue
        where = "for v1 and v2 alike" if len(digests) == len(rules) else f"in {len(digests)} logs without a map"
        parts.append(f"{rule} {where} (masks {value_digest(digests)[:32]})")
    return "; ".join(parts)


def provenance(predictions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What made the predictions, from the attributes of each log's file; it must be the same for all."""
    made = {
        log: {key: attributes[key] for key in sorted(attributes) if key not in _OF_THE_LOG}
        for log, attributes in predictions.items()
    }
    for key in sorted({key for attributes in made.values() for key in attributes}):
        _one({log: str(attributes.get(key)) for log, attributes in made.items()}, f"predictions with {key}")
    return next(iter(made.values()), {})


def _one(values: Mapping[str, str], what: str) -> str:
    """The value that all logs share."""
    by_value = {value: log for log, value in values.items()}
    if len(by_value) > 1:
        (a, log_a), (b, log_b) = list(by_value.items())[:2]
        raise InputError(
            f"log {log_a} has {what} {a} and log {log_b} {what} {b}; make the whole split again with one of them"
        )
    return next(iter(by_value), "none")


def differences(a: Mapping[str, Any], b: Mapping[str, Any], path: str = "protocol") -> list[str]:
    """Each entry in which two protocols differ, with both values."""
    found: list[str] = []
    for key in sorted({*a, *b}):
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            found += differences(x, y, f"{path}.{key}")
        elif x != y:
            found.append(f"{path}.{key}: {x!r} against {y!r}")
    return found


def require_same(names: Sequence[str], a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    """Refuse to compare two metric files whose protocols differ; InputError names the differences."""
    found = differences(a, b)
    if found:
        raise InputError(f"{names[0]} and {names[1]} cannot be compared: {'; '.join(found)}; score both alike")
