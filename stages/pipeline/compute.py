# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""How and where to compute: never part of what is asked for, so never a parameter and never a reason to rerun."""

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from models.errors import InputError

_VARIABLES = {
    "executor": "SCENEFLOW_EXECUTOR",
    "workers": "SCENEFLOW_WORKERS",
    "memory_gib": "SCENEFLOW_MEMORY_GIB",
    "threads": "SCENEFLOW_THREADS",
    "device": "SCENEFLOW_DEVICE",
    "store": "SCENEFLOW_STORE",
    "av2_root": "AV2_ROOT",
    "data_root": "SCENEFLOW_DATA_ROOT",
    "devices": "SCENEFLOW_DEVICES",
    "compile": "SCENEFLOW_COMPILE",
    "logger": "SCENEFLOW_LOGGER",
    "nodes": "SCENEFLOW_NODES",
    "launcher": "SCENEFLOW_LAUNCHER",
}
_CHOICES = {
    "executor": ("pool", "slurm"),
    "device": ("auto", "cpu", "cuda"),
    "compile": ("off", "on"),
    "logger": ("none", "tensorboard", "wandb"),
    "launcher": ("none", "srun", "torchrun"),
}
_OTHERS = ("SCENEFLOW_KERNEL_CACHE", "SCENEFLOW_LAUNCH")  # variables that are no settings
_MEMORY_GIB = 2.0  # what a worker takes at most (docs/scale.md), with a margin
_SLURM_WORKERS = 8


@dataclass(frozen=True)
class SlurmSettings:
    """Mapping `slurm` of `compute.yaml`, for `executor: slurm`.

    Attributes:
        jobs: jobs at the same time, each with `workers` processes.
        time_min: longest time of a job, minutes.
        tries: how often a lost job's logs are tried before they count as failed.
        options: further options of sbatch by their long names, as `partition` or `account`; true for one that takes
            no value, false for one that is to be left out.
    """

    jobs: int = 32
    time_min: int = 240
    tries: int = 3
    options: Mapping[str, str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Compute:
    """The machine's side of a run.

    Attributes:
        executor: `pool`, processes on this machine, or `slurm`, jobs of a cluster.
        workers: processes that work on logs at the same time, on this machine or in each Slurm job.
        memory_gib: memory a worker may need, GiB: the default of `workers` keeps to it, a Slurm job asks for it.
        threads: processor threads that are kept free for a worker. Its numerical libraries use one whatever is said
            here, because their results would differ otherwise.
        slurm: how to ask Slurm.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        store: folder of the log-at-a-time store.
        av2_root: folder that holds `sensor/<split>/<log>`, for `data.source: av2`; relative to the project's root.
        data_root: folder of the raw data, for every other source but `simulated`; relative likewise.
        devices: GPUs of a machine that share the batches of a training.
        nodes: machines that share them, each with as many GPUs.
        launcher: what starts a training on its machines, `srun` or `torchrun`; `none`: it stays on this one.
        srun: further options of srun by their long names, for `launcher: srun`; true and false as in `slurm`.
        compile: whether to compile the network for a GPU; that takes a minute or two, so it is for long trainings.
        logger: where training curves go beside the results: `none`, `tensorboard` or `wandb`.
    """

    workers: int
    device: str
    store: Path
    av2_root: Path | None
    data_root: Path | None
    devices: int
    compile: bool
    logger: str
    nodes: int = 1
    launcher: str = "none"
    srun: Mapping[str, str | bool] = field(default_factory=dict)
    executor: str = "pool"
    memory_gib: float = _MEMORY_GIB
    threads: int = 1
    slurm: SlurmSettings = field(default_factory=SlurmSettings)


def project_root() -> Path:
    """Root of the project, also from a temporary experiment workspace, where DVC names it."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def compute() -> Compute:
    """Settings from the environment, else from the untracked `compute.yaml`, else defaults.

    The environment's names are `AV2_ROOT`, and for each other setting `SCENEFLOW_` and its name in capitals.

    Raises:
        InputError: naming the setting that is unknown or senseless.
    """
    _refuse_unknown_variables()
    file = _read(project_root() / "compute.yaml")
    values = {name: os.environ.get(variable) or file.get(name) for name, variable in _VARIABLES.items()}
    executor = _choice("executor", values["executor"])
    threads = _whole("threads", _or(values["threads"], 1))
    memory_gib = _positive("memory_gib", _or(values["memory_gib"], _MEMORY_GIB))
    return Compute(
        workers=_whole("workers", _or(values["workers"], _default_workers(executor, threads, memory_gib))),
        device=_choice("device", values["device"]),
        store=project_root() / Path(str(values["store"] or ".scratch")).expanduser(),
        av2_root=_folder(values["av2_root"]),
        data_root=_folder(values["data_root"]),
        devices=_whole("devices", _or(values["devices"], 1)),
        compile=_choice("compile", values["compile"]) == "on",
        logger=_choice("logger", values["logger"]),
        nodes=_whole("nodes", _or(values["nodes"], 1)),
        launcher=_choice("launcher", values["launcher"]),
        srun=_options(_mapping("srun", file.get("srun"))),
        executor=executor,
        memory_gib=memory_gib,
        threads=threads,
        slurm=_slurm(_mapping("slurm", file.get("slurm"))),
    )


def _refuse_unknown_variables() -> None:
    """A misspelled name would leave the default in force without a word."""
    prefix = "SCENEFLOW_"
    known = [name.removeprefix(prefix) for name in (*_VARIABLES.values(), *_OTHERS) if name.startswith(prefix)]
    for name in sorted(os.environ):
        if name.startswith(prefix) and name.removeprefix(prefix) not in known:
            near = get_close_matches(name.removeprefix(prefix), known, 1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else "; docs/compute.md lists those there are"
            raise InputError(f"the environment has an unknown setting {name}{hint}")


def _or(value: object, default: object) -> object:
    """A setting, or what stands for one that is not made; 0 is made, and refused."""
    return default if value is None else value


def _folder(value: object) -> Path | None:
    return project_root() / Path(str(value)).expanduser() if value else None


def _default_workers(executor: str, threads: int, memory_gib: float) -> int:
    """As many as cores and memory of this machine carry; of a cluster's nodes nothing is known."""
    if executor == "slurm":
        return _SLURM_WORKERS
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min(len(os.sched_getaffinity(0)) // threads, int(memory / memory_gib)))


def _mapping(name: str, content: object) -> Mapping[str, object]:
    if content is not None and not isinstance(content, dict):
        raise InputError(f"compute setting {name} must be a mapping of settings, not {content!r}")
    return content or {}


def _slurm(content: Mapping[str, object]) -> SlurmSettings:
    own = {item.name for item in fields(SlurmSettings)} - {"options"}
    numbers: dict[str, Any] = {name: _whole(f"slurm.{name}", content[name]) for name in own & set(content)}
    return SlurmSettings(**numbers, options=_options(content, own))


def _options(content: Mapping[str, object], own: Collection[str] = ()) -> Mapping[str, str | bool]:
    return {str(name): _option(value) for name, value in content.items() if name not in own}


def _option(value: object) -> str | bool:
    """Value of an option of sbatch or srun; a name without a value leaves it out, as `false` does."""
    if value is None or isinstance(value, bool):
        return bool(value)
    return str(value)


def _whole(name: str, value: object) -> int:
    if not str(value).isdecimal() or int(str(value)) < 1:
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


def _positive(name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"compute setting {name} must be a positive number, not {value!r}")
    return number


def _read(path: Path) -> Mapping[str, object]:
    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise InputError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name} must hold a mapping of settings, not {content!r}")
    known = (*_VARIABLES, "slurm", "srun")
    unknown = sorted(map(str, set(content) - set(known)))
    if unknown:
        raise InputError(f"{path.name} has an unknown setting {unknown[0]!r}; it knows {', '.join(known)}")
    return dict(content)
