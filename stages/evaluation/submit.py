# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Submissions of a split: every log's files, then one checked archive for each leaderboard."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from models.data.logfile import LogColumns, LogFrames, log_ids
from models.errors import InputError
from stages.evaluation.archive import check_copy, check_v1, check_v2, check_v3, write_archive
from stages.evaluation.masks import require_masks
from stages.evaluation.selection import v1_phases, v2_frames
from stages.evaluation.submission import SubmitParameters, submit_log
from stages.frames.write import atomic
from stages.pipeline.folders import require_folders
from stages.pipeline.logs import LogTask, map_logs

_FOLDERS = ("v1", "masks", "v2", "v3")


def submit_split(split: str, parameters: SubmitParameters) -> list[Path]:
    """Write `data/submission/<split>/{v1,v2,v3}.zip` beside the files in them; returns the archives."""
    require_folders(Path("data"), split, ("frames", "ground", "predictions"))
    frames = Path("data/frames") / split
    logs = {log: LogFrames.open(frames / f"{log}.h5") for log in log_ids(frames)}
    require_masks(Path(parameters.mask_zip) if parameters.mask_zip else None)
    for log in logs:
        supervised = _supervision(Path(f"data/predictions/{split}/{log}.h5"), parameters.supervised)
        parameters = replace(parameters, supervised=supervised)
    output = Path("data/submission") / split
    map_logs(
        "submit",
        submit_log,
        _tasks(split, logs, parameters),
        parameters,
        outputs={kind: output / kind for kind in _FOLDERS},
        suffixes=dict.fromkeys(_FOLDERS, ""),
        packages=("numpy", "pyarrow"),
    )
    return [_ARCHIVES[name](output, logs, parameters) for name in parameters.formats] if logs else []


def cautions(parameters: SubmitParameters) -> list[str]:
    """What the archives' own checks cannot see, a sentence each."""
    found = []
    if "v1" in parameters.formats and parameters.mask_zip is None:
        found.append(
            "v1.zip has the rows of masks made by rule, which can differ from the official ones by a few points a "
            "frame; the leaderboard then refuses it: set submit.mask_zip to the official mask zip before uploading"
        )
    if "v3" in parameters.formats:
        found.append("v3.zip has the frames of v2, since v3's own list is not public; compare them before uploading")
    return found


# What training reads as labels, by the attribute `trained` of a predictions file; others may hold either.
_SUPERVISED = {"truth": True, "clusters": False}


def _supervision(path: Path, supervised: bool | None) -> bool | None:
    """Whether predictions are of a supervised model; InputError where they contradict what is said of them."""
    if not path.exists():  # its own error names it
        return supervised
    trained = str(LogColumns.open(path, "predictions/1").attributes.get("trained", ""))
    labels = trained.split(",")[0].rpartition(" on ")[2]
    found = _SUPERVISED.get(labels, supervised)
    if found is None:
        raise InputError(
            f"submit.supervised is null, but {path} does not say what its model learned from (trained: '{trained}'); "
            "set submit.supervised to true or false"
        )
    if supervised is not None and found != supervised:
        raise InputError(
            f"submit.supervised is {str(supervised).lower()}, but {path} was predicted by a model trained as "
            f"'{trained}'; set submit.supervised to {str(not supervised).lower()}, or predict with other weights"
        )
    return found


def _tasks(split: str, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> list[LogTask]:
    phases = v1_phases([log.num_frames for log in logs.values()])
    tasks = []
    for (name, log), phase in zip(logs.items(), phases, strict=True):
        inputs = {kind: Path(f"data/{kind}/{split}/{name}.h5") for kind in ("frames", "ground", "predictions")}
        if parameters.mask_zip is not None:
            inputs["masks"], phase = Path(parameters.mask_zip), 0  # the zip has the frames; other logs do not matter
        tasks.append(LogTask(name, inputs, sweeps=log.num_frames, arguments={"phase": phase}))
    return tasks


def _v1(output: Path, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> Path:
    masks = output / "v1-masks.zip"
    write_archive(masks, output / "masks")
    check_v1(output / "v1", Path(parameters.mask_zip) if parameters.mask_zip else masks)
    with atomic(output / "v1.zip") as archive:
        write_archive(archive, output / "v1")
        check_copy(archive, output / "v1")
    return output / "v1.zip"


def _v2(output: Path, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> Path:
    rows = {f"{name}/{t:010d}.feather": _points(log, t) for name, log in logs.items() for t in v2_frames(log)}
    with atomic(output / "v2.zip") as archive:
        write_archive(archive, output / "v2", {"Is Supervised?": parameters.supervised})
        check_v2(archive, rows)
    return output / "v2.zip"


def _v3(output: Path, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> Path:
    rows = {
        f"{name}/{int(log.timestamp_ns[t])}.feather": _points(log, t)
        for name, log in logs.items()
        for t in v2_frames(log)
    }
    with atomic(output / "v3.zip") as archive:
        write_archive(archive, output / "v3")
        check_v3(archive, rows)
    return output / "v3.zip"


def _points(log: LogFrames, t: int) -> int:
    """Number of points of a sweep."""
    rows = log.span(t)
    return int(rows.stop - rows.start)


_ARCHIVES = {"v1": _v1, "v2": _v2, "v3": _v3}
