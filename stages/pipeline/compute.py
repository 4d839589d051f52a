# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How and where to compute: never part of what is asked for, so never a parameter and never a reason to rerun."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from models.errors import InputError

_VARIABLES = {
    "workers": "SCENEFLOW_WORKERS",
    "device": "SCENEFLOW_DEVICE",
    "store": "SCENEFLOW_STORE",
    "av2_root": "AV2_ROOT",
}
_DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Compute:
    """The machine's side of a run.

    Attributes:
        workers: processes that work on logs at the same time, one thread each.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        store: folder of the log-at-a-time store.
        av2_root: folder that holds `sensor/<split>/<log>`, for `data.source: av2`.
    """

    workers: int
    device: str
    store: Path
    av2_root: Path | None


def project_root() -> Path:
    """Root of the project, also from a temporary experiment workspace, where DVC names it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def compute() -> Compute:
    """Settings from the environment, else from the untracked `compute.yaml`, else defaults.

    The environment's names are `SCENEFLOW_WORKERS`, `SCENEFLOW_DEVICE`, `SCENEFLOW_STORE` and `AV2_ROOT`.

    Raises:
        InputError: naming the setting that is unknown or senseless.
    """
    file = _read(project_root() / "compute.yaml")
    values = {name: os.environ.get(variable) or file.get(name) for name, variable in _VARIABLES.items()}
    workers = values["workers"] or len(os.sched_getaffinity(0))
    device = str(values["device"] or "auto")
    root = values["av2_root"]
    if not str(workers).isdigit() or int(str(workers)) < 1:
        raise InputError(f"compute setting workers must be a whole number of at least 1, not {workers!r}")
    if device not in _DEVICES:
        raise InputError(f"compute setting device must be one of {', '.join(_DEVICES)}, not {device!r}")
    return Compute(
        workers=int(str(workers)),
        device=device,
        store=project_root() / Path(str(values["store"] or ".scratch")).expanduser(),
        av2_root=Path(str(root)).expanduser() if root else None,
    )


def _read(path: Path) -> Mapping[str, object]:
    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name} must hold a mapping of settings, not {content!r}")
    unknown = sorted(map(str, set(content) - set(_VARIABLES)))
    if unknown:
        raise InputError(f"{path.name} has an unknown setting {unknown[0]!r}; it knows {', '.join(_VARIABLES)}")
    return dict(content)
