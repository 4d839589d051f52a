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
    "devices": "SCENEFLOW_DEVICES",
    "compile": "SCENEFLOW_COMPILE",
    "logger": "SCENEFLOW_LOGGER",
}
_CHOICES = {
    "device": ("auto", "cpu", "cuda"),
    "compile": ("off", "on"),
    "logger": ("none", "tensorboard", "wandb"),
}


@dataclass(frozen=True)
class Compute:
    """The machine's side of a run.

    Attributes:
        workers: processes that work on logs at the same time, one thread each.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        store: folder of the log-at-a-time store.
        av2_root: folder that holds `sensor/<split>/<log>`, for `data.source: av2`.
        devices: GPUs that share the batches of a training.
        compile: whether to compile the network for a GPU; that takes a minute or two, so it is for long trainings.
        logger: where training curves go beside the results: `none`, `tensorboard` or `wandb`.
    """

    workers: int
    device: str
    store: Path
    av2_root: Path | None
    devices: int
    compile: bool
    logger: str


def project_root() -> Path:
    """Root of the project, also from a temporary experiment workspace, where DVC names it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def compute() -> Compute:
    """Settings from the environment, else from the untracked `compute.yaml`, else defaults.

    The environment's names are `AV2_ROOT`, and for each other setting `SCENEFLOW_` and its name in capitals.

    Raises:
        InputError: naming the setting that is unknown or senseless.
    """
    file = _read(project_root() / "compute.yaml")
    values = {name: os.environ.get(variable) or file.get(name) for name, variable in _VARIABLES.items()}
    root = values["av2_root"]
    return Compute(
        workers=_count("workers", values["workers"] or len(os.sched_getaffinity(0))),
        device=_choice("device", values["device"]),
        store=project_root() / Path(str(values["store"] or ".scratch")).expanduser(),
        av2_root=Path(str(root)).expanduser() if root else None,
        devices=_count("devices", values["devices"] or 1),
        compile=_choice("compile", values["compile"]) == "on",
        logger=_choice("logger", values["logger"]),
    )


def _count(name: str, value: object) -> int:
    if not str(value).isdigit() or int(str(value)) < 1:
        raise InputError(f"compute setting {name} must be a whole number of at least 1, not {value!r}")
    return int(str(value))


def _choice(name: str, value: object) -> str:
    """A setting that has few values, the first of which is the default."""
    choices = _CHOICES[name]
    if isinstance(value, bool):
        value = "on" if value else "off"  # YAML takes the bare words for truth values
    chosen = str(value or choices[0])
    if chosen not in choices:
        raise InputError(f"compute setting {name} must be one of {', '.join(choices)}, not {chosen!r}")
    return chosen


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
