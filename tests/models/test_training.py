# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Training learns, repeats itself to the byte, resumes after a kill, and refuses what makes no sense."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from models.data.augment import AugmentParameters
from models.data.labels import TrainLog, open_logs
from models.data.logfile import LogColumns, LogFrames
from models.data.samples import collate
from models.errors import InputError
from models.inference import predict_log
from models.training.fit import fit
from models.training.module import follow, loss_terms
from models.training.parameters import TrainParameters
from models.training.schedule import ScheduleParameters, factor
from models.weights import load_weights, save_weights
from stages.learning.train import _can_compile, train_flow
from stages.pipeline.parameters import from_mapping
from tests.models.processes import start_training


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "scratch"))
    monkeypatch.setenv("SCENEFLOW_DEVICE", "cpu")


def logs_of(data: Path) -> list[TrainLog]:
    folders = [data / kind / "train" for kind in ("frames", "ground", "clusters")]
    return open_logs(*folders, "clusters", ["log0", "log1"])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_workers_that_read_ahead_train_the_same_weights(
    data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    first, second = (
        fit(logs_of(data), replace(parameters, epochs=2), "cpu", tmp_path / f"{workers}.ckpt", None, workers)
        for workers in (0, 2)
    )
    # On from the second epoch, as after a kill.
    more = [
        fit(logs_of(data), replace(parameters, epochs=3), "cpu", tmp_path / f"{workers}.ckpt", None, workers)
        for workers in (0, 2)
    ]
    for a, b in ((first, second), more):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name
    assert not multiprocessing.active_children()  # those that read ahead ended with the training


def test_killed_training_resumes_to_the_same_bytes(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    """Also: two trainings give the same bytes, and leave no checkpoint."""
    parameters = replace(parameters, epochs=12, ema=0.9)
    assert start_training(data, tmp_path / "whole", parameters, stderr=subprocess.DEVNULL).wait() == 0
    assert list((tmp_path / "whole-store").rglob("*.ckpt")) == []
    killed = start_training(data, tmp_path / "killed", parameters, stderr=subprocess.DEVNULL)
    store = tmp_path / "killed-store"
    while not list(store.rglob("last.ckpt")):
        assert killed.poll() is None, "ended before its first checkpoint"
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/flow.safetensors").exists()
    checkpoint = next(store.rglob("last.ckpt"))
    assert torch.load(checkpoint, weights_only=True)["epoch"] < 11
    assert start_training(data, tmp_path / "killed", parameters, stderr=subprocess.DEVNULL).wait() == 0
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert list(store.rglob("*.ckpt")) == []


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-100], lambda content: content[:500] + b"x" + content[501:]]
)
def test_a_damaged_checkpoint_is_not_resumed_from(
    damage: Callable[[bytes], bytes],
    data: Path,
    tmp_path: Path,
    parameters: TrainParameters,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Cut off, and with one wrong byte: training starts over and ends with the same bytes."""
    train_flow(data, tmp_path / "whole/flow.safetensors", tmp_path / "whole/curves", parameters)
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "other"))
    with monkeypatch.context() as patch:
        patch.setattr("models.weights.save_weights", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_flow(data, tmp_path / "cut/flow.safetensors", tmp_path / "cut/curves", parameters)
    checkpoint = next((tmp_path / "other").rglob("last.ckpt"))
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    train_flow(data, tmp_path / "cut/flow.safetensors", tmp_path / "cut/curves", parameters)
    assert "last.ckpt is damaged; training from the start" in capsys.readouterr().err
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_the_same_training_is_not_done_twice(
    data: Path, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = replace(parameters, epochs=1)
    train_flow(data, tmp_path / "a/flow.safetensors", tmp_path / "a/curves", parameters)
    monkeypatch.setattr("models.training.fit.fit", None)  # a second training would fail
    train_flow(data, tmp_path / "b/flow.safetensors", tmp_path / "b/curves", parameters)
    assert files(tmp_path / "b") == files(tmp_path / "a")


def test_other_parameters_do_not_resume(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    from stages.learning.train import provenance

    logs = logs_of(data)
    whole = provenance(logs, parameters, "cpu")
    assert provenance(logs, replace(parameters, learning_rate=0.01), "cpu") != whole
    assert provenance(logs[:1], parameters, "cpu") != whole
    assert provenance(logs, parameters, "gpu") != whole
    assert provenance(logs, parameters, "cpu", compiled=True) == {**whole, "compiled": True}
    assert set(whole) == {"parameters", "data", "logs", "code", "packages", "device"}  # keys of stores that exist
    assert str(tmp_path) not in json.dumps(whole)


def test_self_supervised_training_never_opens_truth(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    for path in (data / "truth/train").iterdir():
        path.write_bytes(b"not a file that can be read")
    train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", replace(parameters, epochs=1))
    assert (tmp_path / "flow.safetensors").exists()


@pytest.mark.parametrize("loss", ["deflow", "ff3d", "zeroflow"])
def test_supervised_training_learns_the_motion(
    data: Path, tmp_path: Path, parameters: TrainParameters, loss: str
) -> None:
    parameters = replace(
        parameters,
        labels="truth",
        loss=loss,
        epochs=40,
        learning_rate=0.003,
        augment=replace(parameters.augment, flip=0.0, rotation=0.0, scale=0.0, reverse=0.0, drop=0.0, jitter=0.0),
        held_out=0.0,
    )
    train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", parameters)
    assert moving_error(data, tmp_path / "flow.safetensors") < 0.3


def moving_error(data: Path, weights: Path) -> float:
    """Mean error of the moving boxes of a log over their mean motion."""
    network, _ = load_weights(weights)
    frames = LogFrames.open(data / "frames/train/log0.h5")
    ground = LogColumns.open(data / "ground/train/log0.h5", "ground/1", frames).column("ground")
    label = LogColumns.open(data / "clusters/train/log0.h5", "clusters/1", frames).column("label")
    prediction = predict_log(network, frames, ground)
    rows = (label == 2) & (np.arange(len(label)) < frames.span(2).stop)
    yaw = 0.01 * np.repeat(np.arange(frames.num_frames), np.diff(frames.frame_start))[rows] + 0.01
    motion = 0.8 * np.stack([np.cos(yaw), -np.sin(yaw), np.zeros_like(yaw)], axis=1)
    return float(np.linalg.norm(prediction.residual[rows] - motion, axis=1).mean() / 0.8)


def test_self_supervised_training_learns_the_motion(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    parameters = replace(
        parameters,
        epochs=60,
        held_out=0.0,
        augment=AugmentParameters(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        gradient_clip=1.0,
    )
    train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", parameters)
    assert moving_error(data, tmp_path / "flow.safetensors") < 0.6


@pytest.mark.parametrize("kind", ["deflowpp", "deflow"])
def test_seflow_pp_learns_the_motion(data: Path, tmp_path: Path, parameters: TrainParameters, kind: str) -> None:
    """Also for a network of two sweeps, whose loss alone looks back."""
    still = AugmentParameters(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    model = replace(parameters.model, kind=kind)
    parameters = replace(parameters, loss="seflow++", model=model, epochs=60, held_out=0.0, augment=still)
    train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", replace(parameters, gradient_clip=1.0))
    assert moving_error(data, tmp_path / "flow.safetensors") < 0.6


def test_loss_that_does_not_fit_the_labels_is_refused(parameters: TrainParameters) -> None:
    values = json.loads(json.dumps(asdict(parameters)))
    with pytest.raises(InputError, match=r"train\.loss deflow needs labels .*labels is clusters"):
        from_mapping("train", TrainParameters, {**values, "loss": "deflow"})
    with pytest.raises(InputError, match=r"train\.model\.range along x must be a multiple of 8 voxels"):
        from_mapping("train", TrainParameters, {**values, "model": {**values["model"], "voxel": 0.9}})
    with pytest.raises(InputError, match=r"train\.seed must be at least 0 and below"):
        from_mapping("train", TrainParameters, {**values, "seed": 2**33})


def test_nothing_is_reversed_where_flow_goes_one_way(parameters: TrainParameters) -> None:
    assert parameters.augmentation() == parameters.augment
    supervised = replace(parameters, labels="truth", loss="deflow").augmentation()
    assert supervised == replace(parameters.augment, reverse=0.0)


def test_weights_of_the_terms_count_and_the_static_one_rises(parameters: TrainParameters, data: Path) -> None:
    weights = replace(parameters.seflow, chamfer=2.0, dynamic=3.0, static=5.0, static_warmup=0.5, cluster=7.0)
    parameters = replace(parameters, seflow=weights)
    log = logs_of(data)[0]
    batch = collate([log.sample(0)], minimum_dynamic=0)
    flow = torch.ones_like(batch.cloud0.points)
    for progress, static in ((0.0, 0.0), (0.25, 2.5), (0.5, 5.0), (1.0, 5.0)):
        terms, got = loss_terms(parameters, flow, batch, progress)
        assert got == {"chamfer": 2.0, "dynamic": 3.0, "static": static, "cluster": 7.0}
        assert set(terms) == set(got) and all(float(term) > 0 for term in terms.values())


def test_the_average_follows_the_weights_as_written_out_by_hand() -> None:
    network, average = (nn.BatchNorm1d(1) for _ in range(2))
    expected = float(average.weight[0])
    for step in range(1, 60):
        with torch.no_grad():
            network.weight.fill_(step)
        network.num_batches_tracked.fill_(step)
        follow(average, network, 0.8, step)
        decay = min(0.8, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.weight[0]) == pytest.approx(expected, rel=1e-5)
    assert int(average.num_batches_tracked) == 59


def test_training_that_cannot_learn_is_refused(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    far = replace(parameters.model, range=(984.0, -16.0, -1.0, 1016.0, 16.0, 4.0))
    with pytest.raises(InputError, match=r"no point .* inside train\.model\.range"):
        train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", replace(parameters, model=far))
    many = replace(parameters.seflow, minimum_dynamic=10_000)
    with pytest.raises(InputError, match=r"lower train\.seflow\.minimum_dynamic"):
        train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", replace(parameters, seflow=many))


def test_killed_after_its_last_checkpoint_keeps_its_curves(
    data: Path, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_flow(data, tmp_path / "whole/flow.safetensors", tmp_path / "whole/curves", parameters)
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "other"))
    with monkeypatch.context() as patch:
        patch.setattr("models.weights.save_weights", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_flow(data, tmp_path / "cut/flow.safetensors", tmp_path / "cut/curves", parameters)
    train_flow(data, tmp_path / "cut/flow.safetensors", tmp_path / "cut/curves", parameters)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame": "city"}, "wants points in frame 'city', known are ego and sensor"),
        ({"architecture": {"kind": "pointnet"}}, "names no network of this version"),
        ({"architecture": None}, "names no network of this version"),
        ({"architecture": {"voxel": 0.9}}, "multiple of 8"),
        ({"architecture": {"depth": 3}}, "names no network of this version"),
    ],
)
def test_weights_of_another_kind_are_refused(
    tmp_path: Path, parameters: TrainParameters, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "flow.safetensors"
    save_weights(path, parameters.model.build(), parameters.model, {})
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["sceneflow"])
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    inner = change.get("architecture")
    changed = {"architecture": {**description["architecture"], **inner}} if inner else change
    save_file(state, path, {"sceneflow": json.dumps({**description, **changed})})
    with pytest.raises(InputError, match=words):
        load_weights(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path, parameters: TrainParameters) -> None:
    network = parameters.model.build()
    with torch.no_grad():
        network.backbone.decoder_step4.bias[0] = float("nan")
    save_weights(tmp_path / "flow.safetensors", network, parameters.model, {})
    with pytest.raises(InputError, match="NaN or infinity in backbone.decoder_step4.bias"):
        load_weights(tmp_path / "flow.safetensors")


def test_gpu_that_is_not_there_is_one_sentence(
    data: Path, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("SCENEFLOW_DEVICE", "cuda")
    with pytest.raises(InputError, match="no GPU"):
        train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", parameters)


def test_labels_that_cover_nothing_are_refused(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    supervised = replace(parameters, labels="truth", loss="deflow", augment=replace(parameters.augment, reverse=0.0))
    folders = [data / kind / "train" for kind in ("frames", "ground", "truth")]
    logs = open_logs(*folders, "truth", ["log0", "log1"])
    empty = [
        replace(log, labels=replace(log.labels, columns={**log.labels.columns, "valid": np.zeros_like(log.ground)}))
        for log in logs
    ]
    fit(logs, replace(supervised, epochs=1), "cpu", tmp_path / "all.ckpt", None)
    with pytest.raises(InputError, match=r"no point .* has a flow to learn from \(train\.labels=truth\)"):
        fit(empty, supervised, "cpu", tmp_path / "none.ckpt", None)


def test_weights_that_leave_the_finite_numbers_in_the_last_step_are_refused(
    data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    """No loss is computed after it."""
    wild = replace(parameters, learning_rate=1e39, epochs=1, batch=100, held_out=0.0)
    with pytest.raises(InputError, match="diverged in its last step: weights are not finite"):
        train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", wild)
    assert not (tmp_path / "flow.safetensors").exists()


def test_flow_that_is_not_finite_is_refused(data: Path, parameters: TrainParameters) -> None:
    network = parameters.model.build().eval()
    with torch.no_grad():
        network.head.decoder[2].weight.fill_(3e38)
    frames = LogFrames.open(data / "frames/train/log0.h5")
    ground = LogColumns.open(data / "ground/train/log0.h5", "ground/1", frames).column("ground")
    with pytest.raises(InputError, match="log log0: the flow predicted for sweep 0 is not finite"):
        predict_log(network, frames, ground)


def test_a_job_of_slurm_trains_like_any_process(
    data: Path, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As within `sbatch --ntasks=4`, without srun."""
    for name, value in {"NTASKS": "4", "JOB_NAME": "flow", "JOB_ID": "7", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    fit(logs_of(data), replace(parameters, epochs=1), "cpu", tmp_path / "last.ckpt", None)


def test_compiling_that_cannot_be_done_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", "gcc")
    assert not _can_compile()
    assert capsys.readouterr().err.startswith("note: compile is on, but Triton or a host compiler (gcc) is missing")


def test_loss_that_diverges_is_one_sentence(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    wild = replace(parameters, learning_rate=1e30, gradient_clip=0.0, epochs=5)
    with pytest.raises(InputError, match="diverged"):
        train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", wild)


def test_schedule() -> None:
    cosine = ScheduleParameters("cosine", warmup=0.1, floor=0.1, drop=0.5)
    assert [factor(cosine, step, 100) for step in (0, 9, 10, 55, 100)] == pytest.approx([1 / 11, 10 / 11, 1, 0.55, 0.1])
    steps = replace(cosine, kind="step", warmup=0.0)
    assert [factor(steps, step, 100) for step in (0, 49, 50, 99)] == pytest.approx([1, 1, 0.1, 0.1])
    assert factor(replace(cosine, kind="constant", warmup=0.0), 99, 100) == 1


def test_weights_file(tmp_path: Path, parameters: TrainParameters) -> None:
    network = parameters.model.build()
    for name in ("a", "b"):
        save_weights(tmp_path / name, network, parameters.model, {"seed": 1, "data": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded, description = load_weights(tmp_path / "a")
    assert description["frame"] == "ego" and description["training"] == {"seed": 1, "data": "x"}
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert not loaded.training


def test_weights_that_cannot_be_loaded(tmp_path: Path, parameters: TrainParameters) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_weights(tmp_path / "none")
    save_weights(tmp_path / "a", parameters.model.build(), replace(parameters.model, width=16), {})
    with pytest.raises(InputError, match="does not fit its architecture"):
        load_weights(tmp_path / "a")
    save_weights(tmp_path / "b", parameters.model.build(), replace(parameters.model, kind="fastflow3d"), {})
    with pytest.raises(InputError, match="does not fit its architecture"):
        load_weights(tmp_path / "b")
    (tmp_path / "c").write_bytes((tmp_path / "a").read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        load_weights(tmp_path / "c")


def test_prediction_leaves_ground_and_far_points_at_zero(data: Path, parameters: TrainParameters) -> None:
    torch.manual_seed(0)
    network = replace(parameters.model, range=(-8.0, -8.0, -1.0, 8.0, 8.0, 4.0)).build().eval()
    frames = LogFrames.open(data / "frames/train/log0.h5")
    ground = LogColumns.open(data / "ground/train/log0.h5", "ground/1", frames).column("ground")
    prediction = predict_log(network, frames, ground)
    assert prediction.has_flow.tolist() == [True, True, True, False]
    assert not prediction.residual[~prediction.covered].any()
    assert not prediction.covered[ground].any() and not prediction.covered[frames.span(3)].any()
    warped = frames.xyz(0).astype(np.float64) @ frames.ego1_SE3_ego0(0)[:3, :3].T + frames.ego1_SE3_ego0(0)[:3, 3]
    near = (np.abs(warped[:, :2]) < 7.99).all(1) & ~ground[frames.span(0)]
    assert prediction.covered[frames.span(0)][near].all()
    assert prediction.residual[frames.span(0)][near].any()


def test_stage_modules_import_no_framework() -> None:
    heavy = "{'torch', 'lightning', 'scipy', 'dvc'}"
    code = f"import sys, stages.train, stages.predict; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment).strip() == b"[]"


def test_logger_that_is_not_installed_is_one_sentence(
    data: Path, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCENEFLOW_LOGGER", "wandb")
    monkeypatch.setattr("stages.learning.train.find_spec", lambda name: None if name == "wandb" else name)
    with pytest.raises(InputError, match="compute setting logger is wandb, which is not installed"):
        train_flow(data, tmp_path / "flow.safetensors", tmp_path / "curves", parameters)
