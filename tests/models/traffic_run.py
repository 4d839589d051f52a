# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""One training on given artifacts in a working folder of its own, by the stages' own commands, and its scores."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from models.errors import InputError
from models.training.parameters import TrainParameters
from stages.pipeline.code import package_versions
from stages.pipeline.digest import value_digest
from stages.pipeline.parameters import from_mapping, read_file

PROJECT = Path(__file__).resolve().parents[2]
KINDS = ("frames", "ground", "truth", "catalog")  # beside the labels
VERSIONS = ("torch", "lightning", "numpy", "scipy")
AFTER = 300.0  # s that predict and evaluate may take together
RUNNING: set[int] = set()  # process groups of stages
ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """A training and what it is called.

    Attributes:
        name: of the run, shared by its seeds.
        seed: of the training.
        base: the parameter file that `changes` change.
        changes: values by dotted name.
        steps: steps to train, turned into epochs; None: as many epochs as the parameters say.
        clusters: folder of the data that takes the place of `clusters`.
        weights: weights to score instead of training some.
    """

    name: str
    seed: int
    base: Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    steps: int | None = None
    clusters: str = "clusters"
    weights: Path | None = None

    @property
    def folder(self) -> str:
        """Name of its working folder."""
        return f"{self.name.replace(' ', '-')}-{self.seed}"

    def parameters(self, data: Path) -> dict[str, Any]:
        """The content of its parameter file; InputError where a name or a value is none of the pipeline's."""
        content = copy.deepcopy(read_file(self.base))
        weights = {} if self.weights is None else {"predict.weights": str(self.weights.resolve())}
        changes = {**self.changes, **weights, "data.source": "av2", "train.seed": self.seed}
        set_values(content, changes, f"run {self.name}", self.base)
        train = from_mapping("train", TrainParameters, content["train"])
        if self.steps is not None:
            content["train"]["epochs"] = max(1, round(self.steps / steps_an_epoch(data, train)))
        return content


def set_values(content: dict[str, Any], changes: Mapping[str, Any], who: str, base: Path) -> None:
    """Change values of a parameter file's content by dotted name; InputError where it has no such name."""
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = content
        for section in sections:
            place = place.get(section, {})
        if key not in place:
            raise InputError(f"{who} changes {name}, which {base} does not have")
        place[key] = value


def steps_an_epoch(data: Path, train: TrainParameters) -> int:
    """Steps that a pass over the training pairs takes."""
    return -(-training_pairs(data, train) // train.batch)


def training_pairs(data: Path, train: TrainParameters) -> int:
    """Pairs that are trained on."""
    from models.data.labels import open_logs
    from models.data.logfile import log_ids
    from models.data.module import split_pairs

    frames, ground, labels = (data / name / "train" for name in ("frames", "ground", train.labels))
    logs = open_logs(frames, ground, labels, train.labels, log_ids(frames), train.sweeps)
    return sum(len(split_pairs(log.pairs(), train.held_out, log.sweeps)[0]) for log in logs)


class Failed(Exception):
    """A stage of a run failed or ran out of time; the text says which."""


@dataclass(frozen=True)
class Place:
    """Where runs work.

    Attributes:
        data: folder of the artifacts.
        work: folder that takes a folder for each run, and the store that they share.
        minutes: longest time of a training.
        gpu: number of the GPU to use; None for the CPU.
        together: runs at a time on a GPU.
        workers: processes that read ahead for a training.
    """

    data: Path
    work: Path
    minutes: float
    gpu: int | None
    together: int
    workers: int

    def environment(self) -> dict[str, str]:
        """Of the stages: one device, one store, and libraries that start no threads where loaders share the cores."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "SCENEFLOW_"))}
        device = {"SCENEFLOW_DEVICE": "cpu"} if self.gpu is None else {"SCENEFLOW_DEVICE": "cuda"}
        if self.gpu is not None:
            device["CUDA_VISIBLE_DEVICES"] = self._card()
        return {
            **kept,
            **dict.fromkeys(ONE_THREAD, "1"),
            **device,
            "OMP_NUM_THREADS": "2",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH")))),
            "SCENEFLOW_STORE": str((self.work / "store").resolve()),
            "SCENEFLOW_WORKERS": str(self.workers),
        }

    def _card(self) -> str:
        """The card by the number among those that this process may use."""
        allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
        return allowed.split(",")[self.gpu or 0] if allowed else str(self.gpu)


def execute(run: Run, place: Place) -> dict[str, Any]:
    """Train, predict, evaluate; returns the row, which says `failed` where one of them did."""
    folder = place.work / run.folder
    content = lay_out(run, place, folder)
    row = {"run": run.name, "seed": run.seed, "changes": dict(run.changes), "together": place.together}
    if run.clusters != "clusters":
        row["clusters"] = run.clusters
    start = time.monotonic()
    try:
        if run.weights is None:
            _stage(("train",), folder, place, 60 * place.minutes)
            row |= _trained(folder, content, time.monotonic() - start)
        _stage(("predict", "--split", "val"), folder, place, AFTER)
        _stage(("evaluate",), folder, place, AFTER)
    except Failed as error:
        return {**row, "seconds": round(time.monotonic() - start, 1), "failed": str(error)}
    return row | scores(folder)


def lay_out(run: Run, place: Place, folder: Path) -> dict[str, Any]:
    """Make the working folder: links to the artifacts, and the parameter file, whose content is returned."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for name, source in {**{kind: kind for kind in KINDS}, "clusters": run.clusters}.items():
        link = data / name
        link.unlink(missing_ok=True)
        link.symlink_to((place.data / source).resolve())
    content = run.parameters(data)
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return content


def _stage(command: Sequence[str], folder: Path, place: Place, limit: float) -> None:
    """Run a stage in the folder, its output in `<stage>.log`; Failed where it fails or takes longer than `limit` s."""
    log = folder / f"{command[0]}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"stages.{command[0]}", *command[1:]],
            cwd=folder,
            env=place.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNNING.add(process.pid)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"{command[0]} was stopped after {limit:.0f} s; {_last_line(log)}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            RUNNING.discard(process.pid)
    if code:
        raise Failed(f"{command[0]} ended with {code}: {_last_line(log)}")


def end_all() -> None:
    """Kill every stage that runs, for the end of this process by a signal."""
    for group in list(RUNNING):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _last_line(log: Path) -> str:
    """The last line that names an error, which a progress bar may follow; else the last of all."""
    lines = log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()
    errors = [line for line in lines if "rror:" in line]
    return (errors or lines or ["it printed nothing"])[-1][:300]


def _trained(folder: Path, content: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """What the training was; without its time where the store had it, since only prediction differs."""
    train = from_mapping("train", TrainParameters, content["train"])
    pairs = training_pairs(folder / "data", train)
    took = {"seconds": round(seconds, 1)} if "step/s]" in (folder / "train.log").read_text() else {}
    steps = train.epochs * -(-pairs // train.batch)
    return {"pairs": pairs, "steps": steps, **took, "terms": _last_terms(folder / "data" / "curves")}


def _last_terms(curves: Path) -> dict[str, float]:
    """The last row of the training curves, of the CSV logger or of DVCLive."""
    if (curves / "metrics.csv").exists():
        names, *_, last = [line.split(",") for line in (curves / "metrics.csv").read_text().splitlines()]
        found = dict(zip(names, last, strict=True))
        return {name: float(f"{float(value):.4g}") for name, value in found.items() if "/" in name and value}
    parts = json.loads((curves / "metrics.json").read_text()) if (curves / "metrics.json").exists() else {}
    return {f"{part}/{name}": value for part in ("train", "held") for name, value in parts.get(part, {}).items()}


def scores(folder: Path) -> dict[str, Any]:
    """The scores of the model, and under `scored` what is the same for all models that were scored alike."""
    found = json.loads((folder / "metrics/val.json").read_text())
    protocol = {"protocol": found["protocol"], "points": points(folder / "data/evaluation/val")}
    baselines = {name: headline(found[name]) for name in ("nearest", "ego_motion")}
    return {
        "model": headline(found["model"]),
        "device": found["provenance"]["device"],
        "versions": package_versions(VERSIONS),
        "provenance": found["provenance"],
        "protocol": value_digest(found["protocol"])[:32],
        "scored": {**protocol, **baselines},
    }


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Three-way EPE and its parts, m; normalised errors of moving points by class; both static and dynamic means."""
    moving, static = metrics["bucketed"]["dynamic"], metrics["bucketed"]["static"]
    return {
        "threeway": {name: _short(value) for name, value in metrics["threeway"].items()},
        "dynamic": {name: _short(value) for name, value in moving.items() if value is not None},
        "static": {name: _short(value) for name, value in static.items() if value is not None},
    }


def points(tables: Path) -> dict[str, int]:
    """How many moving points of each class within 35 m the normalised errors are of, and of the three-way parts."""
    import pyarrow.parquet as pq

    counts: dict[str, int] = {}
    for row in pq.read_table(tables / "speeds.parquet").to_pylist():
        if row["prediction"] == "model" and row["region"] == "35m" and row["from_m"] > 0:
            counts[row["class"]] = counts.get(row["class"], 0) + row["points"]
    for row in pq.read_table(tables / "classes.parquet").to_pylist():
        if row["prediction"] == "model":
            part = "background" if row["category"] == "BACKGROUND" else "foreground"
            name = f"{part} {row['motion']}"
            counts[name] = counts.get(name, 0) + row["points"]
    return counts


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
