# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters are refused by name: unknown, missing, mistyped, senseless."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml

from models.errors import InputError
from stages.pipeline.code import ROOT
from stages.pipeline.compute import compute
from stages.pipeline.main import check_parameters
from stages.pipeline.parameters import from_mapping, read_parameters


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Section:
    rate: float
    kind: Literal["a", "b"]
    span: tuple[float, float]
    inner: Inner
    name: str | None
    flag: bool

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate must be positive, not {self.rate}")


GOOD = {"rate": 1, "kind": "a", "span": [0, 1.5], "inner": {"size": 3}, "name": None, "flag": True}


def test_a_good_section() -> None:
    assert from_mapping("s", Section, GOOD) == Section(1.0, "a", (0.0, 1.5), Inner(3), None, True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": 2}, "parameter s.ratio is unknown"),
        ({"kind": None}, "parameter s.kind must be one of a, b, not None"),
        ({"kind": "c"}, "parameter s.kind must be one of a, b, not 'c'"),
        ({"rate": "fast"}, "parameter s.rate must be of type float, not 'fast'"),
        ({"rate": True}, "parameter s.rate must be of type float, not True"),
        ({"rate": float("nan")}, "parameter s.rate must be finite"),
        ({"rate": -1.0}, "parameter s.rate must be positive, not -1.0"),
        ({"span": [1]}, r"parameter s.span must be a list of 2 values"),
        ({"span": [1, "x"]}, r"parameter s.span\[1\] must be of type float, not 'x'"),
        ({"inner": {}}, "parameter s.inner.size is missing"),
        ({"inner": {"size": 1.5}}, "parameter s.inner.size must be of type int, not 1.5"),
        ({"inner": {"size": True}}, "parameter s.inner.size must be of type int, not True"),
        ({"inner": 3}, "parameter s.inner must be a mapping"),
        ({"flag": 1}, "parameter s.flag must be of type bool, not 1"),
    ],
)
def test_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_mapping("s", Section, {**GOOD, **change})


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match="parameter s.flag is missing"):
        from_mapping("s", Section, {key: value for key, value in GOOD.items() if key != "flag"})


def test_floats_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("s: {size: 3}\nt: {rate: 1e-3, kind: a, span: [1, 2.], inner: {size: 3}, name: x, flag: false}\n")
    assert read_parameters("t", Section, file).rate == 1e-3
    assert read_parameters("s", Inner, file).size == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "not valid YAML"), ("3", "one mapping of sections"), ("x: {}", "no section 's'")],
)
def test_a_broken_file(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_parameters("s", Inner, file)


def test_the_projects_own_file_is_good() -> None:
    check_parameters(ROOT / "params.yaml")


def test_every_key_of_the_projects_file_has_a_comment() -> None:
    """A key that opens a mapping may leave the comment to its keys."""
    text = (ROOT / "params.yaml").read_text()
    bare = [
        line
        for line in text.splitlines()
        if line.startswith(" ") and line.strip() and "#" not in line and not line.rstrip().endswith(":")
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("train", "loss", "deflow", "parameter train.loss"),
        ("data", "source", "kitti", "parameter data.source must be one of simulated, av2, folder"),
        ("ingest", "pair_gap_s", [0.2, 0.1], "parameter ingest.pair_gap_s must be two increasing"),
        ("render", "reach", 0.0, "parameter render.reach must be positive, not 0.0"),
        ("render", "full_speed", -1.0, "parameter render.full_speed must be positive"),
        ("render", "frames", 51, "parameter render.frames must lie between 0 and 50, not 51"),
        ("render", "pixels", 63, "parameter render.pixels must lie between 64 and 2000"),
        ("render", "least_moving", 0, "parameter render.least_moving must be at least 1"),
        ("render", "colour", "red", "parameter render.colour is unknown"),
        (
            "render",
            "animation",
            {"frames": -1, "pixels": 400, "rate": 5.0},
            "parameter render.animation.frames must not",
        ),
        ("render", "animation", {"frames": 1, "pixels": 400, "rate": 0.0}, "parameter render.animation.rate must lie"),
        ("render", "animation", {"frames": 1, "pixels": 400}, "parameter render.animation.rate is missing"),
        ("typo", "x", 1, "section 'typo' that no stage reads"),
    ],
)
def test_one_bad_value_stops_any_stage(section: str, key: str, value: object, message: str, tmp_path: Path) -> None:
    """`deflow` needs truth and the labels are clusters: that is refused before the first stage does anything."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content.setdefault(section, {})[key] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=message):
        check_parameters(file)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SCENEFLOW_WORKERS", "0", "workers must be a whole number"),
        ("SCENEFLOW_WORKERS", "many", "workers must be a whole number"),
        ("SCENEFLOW_DEVICE", "tpu", "device must be one of"),
        ("SCENEFLOW_DEVICES", "0", "devices must be a whole number of at least 1"),
        ("SCENEFLOW_NODES", "two", "nodes must be a whole number of at least 1"),
        ("SCENEFLOW_LAUNCHER", "mpirun", "launcher must be one of none, srun, torchrun, not 'mpirun'"),
        ("SCENEFLOW_COMPILE", "auto", "compile must be one of off, on, not 'auto'"),
        ("SCENEFLOW_LOGGER", "csv", "logger must be one of none, tensorboard, wandb"),
        ("SCENEFLOW_EXECUTOR", "dask", "executor must be one of pool, slurm, not 'dask'"),
        ("SCENEFLOW_MEMORY_GIB", "-1", "memory_gib must be a positive number"),
        ("SCENEFLOW_MEMORY_GIB", "much", "memory_gib must be a positive number"),
        ("SCENEFLOW_THREADS", "0", "threads must be a whole number"),
    ],
)
def test_a_bad_machine_setting(name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message):
        compute()


def test_the_machines_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SCENEFLOW_WORKERS", "SCENEFLOW_STORE", "AV2_ROOT", "DVC_ROOT", "SCENEFLOW_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "compute.yaml").write_text("workers: 3\nav2_root: /data/av2\n")
    assert (compute().workers, compute().av2_root, compute().store) == (3, Path("/data/av2"), tmp_path / ".scratch")
    assert (compute().devices, compute().compile, compute().logger) == (1, False, "none")
    (tmp_path / "compute.yaml").write_text("workers: 3\ndevices: 2\ncompile: on\nlogger: tensorboard\n")
    assert (compute().devices, compute().compile, compute().logger) == (2, True, "tensorboard")
    monkeypatch.setenv("SCENEFLOW_WORKERS", "1")
    assert compute().workers == 1
    (tmp_path / "compute.yaml").write_text("memory_gib: 1.0e9\n")
    assert compute().workers == 1
    monkeypatch.delenv("SCENEFLOW_WORKERS")
    assert compute().workers == 1  # no machine has that memory for two
    (tmp_path / "compute.yaml").write_text("wokers: 3\n")
    with pytest.raises(InputError, match="unknown setting 'wokers'"):
        compute()
    for name, hint in (("SCENEFLOW_DEVCE", "did you mean SCENEFLOW_DEVICE"), ("SCENEFLOW_X", "docs/compute.md lists")):
        with monkeypatch.context() as set_wrongly:
            set_wrongly.setenv(name, "cuda")
            with pytest.raises(InputError, match=f"the environment has an unknown setting {name}; {hint}"):
                compute()
    monkeypatch.setenv("AV2_ROOT", "../av2")  # of the project, also where an experiment runs in a workspace of its own
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    assert compute().av2_root == tmp_path / "project/../av2"


def test_settings_of_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    file = tmp_path / "compute.yaml"
    file.write_text("executor: slurm\nslurm: {jobs: 5, time_min: 60, partition: cpu, account: 7}\n")
    slurm = compute().slurm
    assert (compute().executor, slurm.jobs, slurm.time_min, slurm.tries) == ("slurm", 5, 60, 3)
    assert slurm.options == {"partition": "cpu", "account": "7"}
    file.write_text("slurm: {exclusive: true, requeue: false, qos: , nice: 0}\n")
    assert compute().slurm.options == {"exclusive": True, "requeue": False, "qos": False, "nice": "0"}
    file.write_text(
        "nodes: 2\nlauncher: srun\nsrun: {partition: gpu, exclusive: true, time: 60, gpus-per-node: false}\n"
    )
    assert (compute().nodes, compute().launcher) == (2, "srun")
    assert compute().srun == {"partition": "gpu", "exclusive": True, "time": "60", "gpus-per-node": False}
    for text, message in (
        ("slurm: {jobs: 0}", "slurm.jobs must be a whole number"),
        ("slurm: cpu", "slurm must be a mapping"),
        ("srun: gpu", "srun must be a mapping"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            compute()
