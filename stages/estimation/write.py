# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Results as files: the cloud with its flow in the kind of its own file, a picture, and a record of the run."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from stages.estimation.findings import Finding
from stages.estimation.formats import cloud_bytes, known
from stages.estimation.run import Estimate
from stages.estimation.sequence import stem

MOVING = 0.5  # m/s


@dataclass(frozen=True)
class Target:
    """Where results go.

    Attributes:
        folder: the folder.
        name: name of the one result, or None: the name of its sweep.
    """

    folder: Path
    name: str | None

    def cloud(self, file: Path) -> Path:
        """Path of the result of a sweep."""
        return self.folder / (self.name or file.name)

    def beside(self, file: Path, suffix: str) -> Path:
        """Path of what lies beside the result of a sweep."""
        return self.folder / f"{stem(self.cloud(file))}{suffix}"

    def record(self, files: list[Path]) -> Path:
        """Path of the record of the run."""
        return self.beside(files[0], ".json") if len(files) == 2 else self.folder / "estimate.json"


def target(output: Path, files: list[Path]) -> Target:
    """Where to write: a folder, or for one pair a file of the kind of the first cloud.

    Raises:
        InputError: the output is a file of another kind, one file for many sweeps, or would replace an input.
    """
    is_file = known(output) and not output.is_dir()
    if is_file and output.suffix.lower() != files[0].suffix.lower():
        raise InputError(f"output {output} must be of the kind of its input, {files[0].suffix}, or a folder")
    if is_file and len(files) > 2:
        raise InputError(f"output {output} is one file for {len(files) - 1} pairs; name a folder")
    if not is_file and output.is_file():
        raise InputError(f"output {output} is a file of no known kind; name a folder or a {files[0].suffix} file")
    result = Target(output.parent, output.name) if is_file else Target(output, None)
    inputs = {file.resolve() for file in files}
    taken = [file for file in files[:-1] if result.cloud(file).resolve() in inputs]
    if taken:
        raise InputError(f"output {result.cloud(taken[0])} would replace an input; name another folder")
    return result


def columns(estimate: Estimate) -> dict[str, NDArray[Any]]:
    """The columns of the output, each (N,): total and residual flow, m, and three marks."""
    flows = {"flow": estimate.flow, "residual": estimate.residual}
    result: dict[str, NDArray[Any]] = {
        f"{name}_{axis}": np.ascontiguousarray(values[:, i])
        for name, values in flows.items()
        for i, axis in enumerate("xyz")
    }
    return {
        **result,
        "ground": estimate.sweep.ground,
        "covered": estimate.covered,
        "valid": estimate.sweep.cloud.valid,
    }


def write_estimate(estimate: Estimate, where: Target, picture: Callable[[Path, Estimate], None] | None) -> Path:
    """Write one result and its picture; each file appears complete or not at all."""
    cloud = estimate.sweep.cloud
    path = where.cloud(cloud.path)
    _replace(path, lambda partial: _write_bytes(partial, cloud_bytes(cloud, columns(estimate))))
    if picture is not None:
        _replace(where.beside(cloud.path, ".png"), lambda partial: picture(partial, estimate))
    return path


def pair_record(estimate: Estimate) -> dict[str, Any]:
    """What a record keeps of a pair."""
    motion = estimate.motion
    speed = np.linalg.norm(estimate.residual[estimate.covered], axis=1) / abs(estimate.seconds or 0.1)
    return {
        "sweep": estimate.sweep.cloud.path.name,
        "next": estimate.following.cloud.path.name,
        "seconds": estimate.seconds,
        "points": len(estimate.covered),
        "ground": int(estimate.sweep.ground.sum()),
        "covered": int(estimate.covered.sum()),
        "moving": int((speed > MOVING).sum()),
        "ego_motion": {
            "source": motion.source,
            "ego1_SE3_ego0": motion.ego1_SE3_ego0.tolist(),
            "residual_m": None if np.isnan(motion.fit.residual) else motion.fit.residual,
            "overlap": motion.fit.overlap,
        },
    }


def told(path: Path, estimate: Estimate) -> str:
    """A line about one result."""
    row, motion = pair_record(estimate), estimate.motion
    return (
        f"{path}: {row['points']:,} points, {row['ground']:,} ground, {row['covered']:,} with a flow of their own, "
        f"{row['moving']:,} of them faster than {MOVING} m/s; ego motion {np.linalg.norm(motion.travel):.2f} m "
        f"({motion.source}, residual {motion.fit.residual:.3f} m over {motion.fit.overlap:.0%})"
    )


def write_record(
    path: Path, pairs: list[dict[str, Any]], findings: Mapping[Finding, list[str]], made_by: dict[str, str]
) -> None:
    """Write the record of a run as JSON; `findings` gives the sweeps that had each, none where it is of all of them."""
    found = [{**asdict(finding), "sweeps": sweeps} for finding, sweeps in findings.items()]
    text = json.dumps({"made_by": made_by, "findings": found, "pairs": pairs}, indent=1, ensure_ascii=False)
    _replace(path, lambda partial: _write_bytes(partial, f"{text}\n".encode()))


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"output {path} cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):  # none is left, or its folder is no folder
            partial.unlink()


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
