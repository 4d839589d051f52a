# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where things lie in an Argoverse 2 log folder, and which of them this project reads."""

import re
from collections.abc import Iterable
from pathlib import Path

from models.errors import InputError

POSES = "city_SE3_egovehicle.feather"
CALIBRATION = "calibration/egovehicle_SE3_sensor.feather"
ANNOTATIONS = "annotations.feather"
SWEEPS = "sensors/lidar"
RASTER_PATTERN = "map/*_ground_height_surface____*.npy"
SIM2_PATTERN = "map/*___img_Sim2_city.json"
_TIMESTAMP = re.compile("0|[1-9][0-9]{0,18}")  # one spelling a number, so that no two files have one timestamp


def dataset_folder(root: Path) -> Path:
    """Folder of a data root that holds `<split>/<log>`: `sensor` or `lidar`.

    Raises:
        InputError: if the root is absent or is no Argoverse 2 root.
    """
    if not root.is_dir():
        raise InputError(f"the AV2 root {root} is not a folder; set AV2_ROOT or av2_root in compute.yaml")
    datasets = [root / name for name in ("sensor", "lidar") if (root / name).is_dir()]
    if len(datasets) != 1:
        found = "both sensor and lidar" if datasets else "neither sensor nor lidar"
        raise InputError(
            f"the AV2 root {root} holds {found}; it must hold one of them, with <split>/<log> folders below"
        )
    return datasets[0]


def read_files(log: Path) -> list[str]:
    """Names, relative to the log folder and sorted, of the files that this project reads of a log.

    Raises:
        InputError: if the folder has no lidar sweeps or a sweep's file name is not its timestamp.
    """
    sweeps = sorted((log / SWEEPS).glob("*.feather"))
    if not sweeps:
        raise InputError(f"log {log.name} has no {SWEEPS}/*.feather; is {log} an Argoverse 2 log?")
    for sweep in sweeps:
        if not _is_timestamp(sweep.stem) or not sweep.is_file():
            raise InputError(
                f"log {log.name}: {SWEEPS}/{sweep.name} is not named by its timestamp in ns; rename or remove it"
            )
    single = [log / name for name in (POSES, CALIBRATION, ANNOTATIONS) if (log / name).is_file()]
    rasters = [*log.glob(RASTER_PATTERN), *log.glob(SIM2_PATTERN)]
    return sorted(path.relative_to(log).as_posix() for path in [*sweeps, *single, *rasters])


def is_sweep(name: str) -> bool:
    """Whether a file is a lidar sweep."""
    return name.startswith(f"{SWEEPS}/")


def sweep_timestamps(names: Iterable[str]) -> list[int]:
    """Timestamps in ns of the sweeps among file names, increasing."""
    return sorted(int(Path(name).stem) for name in names if is_sweep(name))


def _is_timestamp(name: str) -> bool:
    return _TIMESTAMP.fullmatch(name) is not None and int(name) < 2**63  # what an int64 holds
