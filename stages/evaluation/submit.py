# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Submissions of a split: every log's files, then one checked archive for each leaderboard."""

from collections.abc import Mapping
from pathlib import Path

from models.data.logfile import LogFrames, log_ids
from stages.evaluation.archive import check_v1, check_v2, check_v3, write_archive
from stages.evaluation.selection import v1_phases
from stages.evaluation.submission import SubmitParameters, submit_log
from stages.frames.write import atomic
from stages.pipeline.logs import LogTask, map_logs

_FOLDERS = ("v1", "masks", "v2", "v3")


def submit_split(split: str, parameters: SubmitParameters) -> list[Path]:
    """Write `data/submission/<split>/{v1,v2,v3}.zip` beside the files in them; returns the archives."""
    frames = Path("data/frames") / split
    logs = {log: LogFrames.open(frames / f"{log}.h5") for log in log_ids(frames)}
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


def _tasks(split: str, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> list[LogTask]:
    phases = v1_phases([log.num_frames for log in logs.values()])
    tasks = []
    for (name, log), phase in zip(logs.items(), phases, strict=True):
        inputs = {kind: Path(f"data/{kind}/{split}/{name}.h5") for kind in ("frames", "ground", "predictions")}
        if parameters.mask_zip is not None:
            inputs["masks"] = Path(parameters.mask_zip)
        tasks.append(LogTask(name, inputs, sweeps=log.num_frames, arguments={"phase": phase}))
    return tasks


def _v1(output: Path, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> Path:
    masks = output / "v1-masks.zip"
    write_archive(masks, output / "masks")
    check_v1(output / "v1", Path(parameters.mask_zip) if parameters.mask_zip else masks)
    write_archive(output / "v1.zip", output / "v1")
    return output / "v1.zip"


def _v2(output: Path, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> Path:
    sweeps = {name: log.num_frames for name, log in logs.items()}
    points = {name: dict(enumerate(_counts(log))) for name, log in logs.items()}
    with atomic(output / "v2.zip") as archive:
        write_archive(archive, output / "v2", {"Is Supervised?": parameters.supervised})
        check_v2(archive, sweeps, points)
    return output / "v2.zip"


def _v3(output: Path, logs: Mapping[str, LogFrames], parameters: SubmitParameters) -> Path:
    points = {name: dict(zip(log.timestamp_ns.tolist(), _counts(log), strict=True)) for name, log in logs.items()}
    with atomic(output / "v3.zip") as archive:
        write_archive(archive, output / "v3")
        check_v3(archive, points)
    return output / "v3.zip"


def _counts(log: LogFrames) -> list[int]:
    """Number of points of each sweep."""
    starts = log.frame_start.tolist()
    return [stop - start for start, stop in zip(starts, starts[1:], strict=False)]


_ARCHIVES = {"v1": _v1, "v2": _v2, "v3": _v3}
