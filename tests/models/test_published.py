# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints: import to the published numbers, the frames they want, export, and what is refused."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.architecture import Architecture
from models.clouds import concatenate
from models.data.logfile import LogFrames
from models.deflow import DeFlow
from models.deflowpp import DeFlowPP
from models.errors import InputError
from models.fastflow3d import FastFlow3D
from models.geometry import make_SE3, rigid_flow, transform_points
from models.inference import predict_log
from models.published.convert import export_checkpoint, import_checkpoint
from models.published.frames import to_sensor_frame
from models.published.layout import Known
from models.weights import load_weights, save_weights
from tests.models.golden import PUBLISHED, cloud, fill_weights, pose
from tests.models.test_networks import GOLDEN, TOLERANCE

BOX = (-51.2, -51.2, -3.0, 51.2, 51.2, 3.0)
NOTHING = Known()


def config(target: str, **more: Any) -> dict[str, Any]:
    """What the published trainer keeps of its configuration, as far as it concerns the network."""
    return {
        "output": "seflow-deflow",
        "voxel_size": [0.2, 0.2, 6],
        "point_cloud_range": [-51.2, -51.2, -3, 51.2, 51.2, 3],
        "loss_fn": "seflowLoss",
        "lr": 2e-4,
        "gpus": None,
        "res_name": "${output}",
        "model": {
            "name": "deflow",
            "val_monitor": "val/Dynamic/Mean",
            "target": {
                "_target_": target,
                "voxel_size": "${voxel_size}",
                "point_cloud_range": "${point_cloud_range}",
                "grid_feature_size": [512, 512],
                **more,
            },
        },
    }


def write(path: Path, network: torch.nn.Module, hyper: Any, **changes: Any) -> Path:
    """A checkpoint as Lightning writes it: state under `model.`, optimiser, callbacks, hyperparameters."""
    state = OrderedDict((f"model.{name}", tensor) for name, tensor in network.state_dict().items())
    weight = next(iter(network.parameters()))
    content = {
        "epoch": 8,
        "global_step": 15480,
        "pytorch-lightning_version": "2.0.1",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 9}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.3), "dirpath": "logs"}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros_like(weight)}}, "param_groups": [{"lr": 2e-4}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper,
        **changes,
    }
    torch.save(content, path)
    return path


def omegaconf(value: dict[str, Any]) -> Any:
    return pytest.importorskip("omegaconf").OmegaConf.create(value)


PUBLISHED_CASES = {
    "deflow2": (lambda: DeFlow(PUBLISHED, iterations=2), "src.models.DeFlow", {"num_iters": 2}),
    "deflow4": (lambda: DeFlow(PUBLISHED, iterations=4), "scripts.network.models.deflow.DeFlow", {"num_iters": 4}),
    "fastflow3d": (lambda: FastFlow3D(PUBLISHED), "src.models.FastFlow3D", {}),
    "deflowpp": (lambda: DeFlowPP(PUBLISHED, iterations=2), "src.models.DeFlowPP", {"num_iters": 2}),
}
EGO_SE3_UP_LIDAR = make_SE3(pose(0, 0, -0.0075)[:3, :3], [1.35, 0.0, 1.64])  # as in Argoverse 2


def golden_log() -> LogFrames:
    """The golden sweeps as a log: points of the ego frame whose lidar points are the golden clouds."""
    clouds = [cloud(1800, 5), cloud(2000, 0), cloud(1900, 3)]
    xyz = np.concatenate([transform_points(EGO_SE3_UP_LIDAR, points) for points in clouds])
    return LogFrames(
        path=Path("golden.h5"),
        log_id="golden",
        digest="",
        columns={"xyz": xyz},
        frame_start=np.cumsum([0, 1800, 2000, 1900]),
        timestamp_ns=np.arange(3) * 10**8,
        city_SE3_ego=np.stack([pose(-0.9, -0.1, -0.01), pose(0, 0, 0), pose(1.0, 0.1, 0.01)]),
        pair_next=np.array([True, True, False]),
        ego_SE3_lidar={"up_lidar": EGO_SE3_UP_LIDAR},
    )


@pytest.mark.golden
@pytest.mark.parametrize("name", PUBLISHED_CASES)
def test_checkpoint_with_omegaconf_predicts_the_published_numbers(name: str, tmp_path: Path) -> None:
    """Whole way: pickle with omegaconf, weights file, a log of the ego frame, residual flow."""
    make, target, more = PUBLISHED_CASES[name]
    hyper = {"cfg": omegaconf(config(target, **more)), "eval": False}
    source = write(tmp_path / "best.ckpt", fill_weights(make()), hyper)
    assert "points in the sensor frame" in import_checkpoint(source, tmp_path / "best.safetensors", NOTHING, "sensor")
    network, description = load_weights(tmp_path / "best.safetensors")
    assert description["frame"] == "sensor"
    assert description["training"]["imported"]["epoch"] == 8

    frames = golden_log()
    prediction = predict_log(network, frames, np.zeros(frames.num_points, dtype=np.bool_), points="sensor")
    rows, motion = frames.span(1), frames.ego1_SE3_ego0(1)
    covered = prediction.covered[rows]
    assert np.flatnonzero(covered)[:4].tolist() == [8, 9, 10, 11] and covered.sum() == 1472
    # The network's own flow: total flow less the motion of the lidar's points, as the published code assembles it.
    total = prediction.residual[rows] + rigid_flow(frames.xyz(1), motion)
    flow = torch.from_numpy((total - rigid_flow(cloud(2000, 0), motion))[covered]).float()
    _, mean, std, absolute, first = GOLDEN[name]
    torch.testing.assert_close(flow.mean(0), torch.tensor(mean), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(flow.std(0), torch.tensor(std), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(flow[0], torch.tensor(first), atol=TOLERANCE, rtol=0)
    assert float(flow.abs().sum()) == pytest.approx(absolute, abs=2e-2)


SMALL = Architecture("deflow", (-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0, 8, 3)
TOLD = Known(SMALL.range, SMALL.voxel, SMALL.iterations)


def small_network() -> torch.nn.Module:
    return fill_weights(SMALL.build())


def test_what_the_checkpoint_does_not_tell_is_asked_for(tmp_path: Path) -> None:
    """ZeroFlow's own files have FastFlow3D's names and no such configuration."""
    network = fill_weights(replace(SMALL, kind="fastflow3d").build())
    source = write(tmp_path / "zeroflow.ckpt", network, {})
    with pytest.raises(InputError, match="does not tell its grid; give --range and --voxel"):
        import_checkpoint(source, tmp_path / "a.safetensors", NOTHING, "ego")
    import_checkpoint(source, tmp_path / "a.safetensors", replace(TOLD, iterations=None), "ego")
    loaded, description = load_weights(tmp_path / "a.safetensors")
    assert description["architecture"]["kind"] == "fastflow3d" and description["frame"] == "ego"
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key
    deflow = write(tmp_path / "deflow.ckpt", small_network(), {})
    with pytest.raises(InputError, match="give --iterations"):
        import_checkpoint(deflow, tmp_path / "b.safetensors", replace(TOLD, iterations=None), "ego")


def test_export_and_import_give_the_same_weights(tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", small_network(), SMALL, {}, "sensor")
    export_checkpoint(tmp_path / "a.safetensors", tmp_path / "a.ckpt", (9.0, 9.0, 9.0))
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)  # no class in it
    assert content["hyper_parameters"]["cfg"]["model"]["target"]["num_iters"] == 3
    import_checkpoint(tmp_path / "a.ckpt", tmp_path / "b.safetensors", NOTHING, "sensor")
    (a, told_a), (b, told_b) = (load_weights(tmp_path / f"{name}.safetensors") for name in "ab")
    assert told_a["architecture"] == told_b["architecture"]
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_weights_of_the_ego_frame_are_shifted_to_the_lidar() -> None:
    """The same function of the same places, told from another origin; exact to rounding."""
    mount = (2.0, -1.0, 1.5)
    network = small_network()
    state, architecture = to_sensor_frame(network.state_dict(), SMALL, mount)
    assert architecture.range == (-10.0, -7.0, -3.5, 6.0, 9.0, 0.5)
    shifted = architecture.build().eval()
    shifted.load_state_dict(state)
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([15.9, 15.9, 3.9])
    ego = [points[:90] + torch.tensor(SMALL.range[:3]), points[90:] + torch.tensor(SMALL.range[:3])]
    with torch.no_grad():
        wanted = network(*(concatenate([cloud]) for cloud in ego))
        given = shifted(*(concatenate([cloud - torch.tensor(mount)]) for cloud in ego))
    torch.testing.assert_close(given, wanted, atol=1e-5, rtol=1e-5)


def test_weights_of_the_lidar_need_its_mount() -> None:
    frames = replace(golden_log(), ego_SE3_lidar={"pandar64": np.eye(4)})
    with pytest.raises(InputError, match=r"log golden has no mount of up_lidar.*it has pandar64"):
        predict_log(small_network(), frames, np.zeros(frames.num_points, dtype=np.bool_), points="sensor")


class Harmful:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path, how: str) -> None:
        self.mark, self.how = mark, how

    def __reduce__(self) -> Any:
        calls = {
            "system": (os.system, (f"touch {self.mark}",)),
            "open": (open, (str(self.mark), "w")),
            "eval": (eval, (f"open({str(self.mark)!r}, 'w')",)),
            "exec": (exec, (f"open({str(self.mark)!r}, 'w')",)),
            "getattr": (getattr, ("", "join")),
            "subprocess": (subprocess.Popen, (["touch", str(self.mark)],)),
            "torch": (torch.load, (str(self.mark),)),
            "numpy": (np.save, (str(self.mark), 1)),
        }
        return calls[self.how]


@pytest.mark.parametrize("how", ["system", "open", "eval", "exec", "getattr", "subprocess", "torch", "numpy"])
@pytest.mark.parametrize("place", ["hyper_parameters", "callbacks", "state_dict"])
def test_malicious_pickle_runs_nothing(how: str, place: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    harmful = {"model.x": Harmful(mark, how)}
    path = write(tmp_path / "bad.ckpt", small_network(), {}, **{place: harmful})
    with pytest.raises(InputError, match=r"is refused: it wants .*; nothing of it was run"):
        import_checkpoint(path, tmp_path / "bad.safetensors", TOLD, "sensor")
    assert not mark.exists() and not (tmp_path / "bad.safetensors").exists()


def handmade(path: Path, code: bytes) -> Path:
    """A checkpoint of a pickle written by hand."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", code)
    return path


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01s\x86b.",  # BUILD on a class: (dict, state)
        b"\x80\x02ccollections\nOrderedDict\nN}X\x08\x00\x00\x00__init__K\x01s\x86b.",  # BUILD that sets an attribute
        b"\x80\x02ctyping\nAny\nN}X\x08\x00\x00\x00__call__K\x01s\x86b.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x09\x00\x00\x00_functionK\x01s\x86b.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03K\x04tR.",  # a tensor of no storage
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"\x80\x02cbuiltins\ndict.fromkeys\n.",  # a name with a dot
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02X",  # cut off
        b"not a pickle",
        b"",
    ],
)
def test_pickles_made_to_harm_are_refused(code: bytes, tmp_path: Path) -> None:
    """Among them some that would change classes of the reader; the real ones stay as they were."""
    before = (OrderedDict.__init__, Any, dict.fromkeys)
    with pytest.raises(InputError, match=r"bad\.ckpt"):
        import_checkpoint(handmade(tmp_path / "bad.ckpt", code), tmp_path / "bad.safetensors", TOLD, "sensor")
    assert (OrderedDict.__init__, Any, dict.fromkeys) == before


def changed_state(change: str) -> dict[str, torch.Tensor]:
    state = {f"model.{name}": tensor for name, tensor in small_network().state_dict().items()}
    name = "model.head.decoder.0.weight"
    if change == "missing":
        del state[name]
    if change == "foreign":
        state["model.head.extra"] = torch.zeros(1)
    if change == "prefix":
        state["net.weight"] = torch.zeros(1)
    if change == "shape":
        state[name] = state[name][:, :-1]
    if change == "type":
        state[name] = state[name].double()
    if change == "nan":
        state[name] = torch.full_like(state[name], float("nan"))
    if change == "network":
        state = {key: tensor for key, tensor in state.items() if "offset_encoder" not in key}
    return state


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", "lacks head.decoder.0.weight of deflow"),
        ("foreign", "holds head.extra, which deflow has not"),
        ("prefix", "has a tensor net.weight, wanted names that begin with model."),
        ("shape", r"holds head.decoder.0.weight as float32 \(8, 47\), wanted float32 \(8, 48\)"),
        ("type", "holds head.decoder.0.weight as float64"),
        ("nan", "NaN or infinity in head.decoder.0.weight"),
        ("network", "is of another network: it has no head.offset_encoder.weight"),
    ],
)
def test_another_state_is_refused(change: str, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", small_network(), {}, state_dict=changed_state(change))
    with pytest.raises(InputError, match=words):
        import_checkpoint(path, tmp_path / "a.safetensors", TOLD, "sensor")
    assert not (tmp_path / "a.safetensors").exists()


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        import_checkpoint(tmp_path / "none.ckpt", tmp_path / "a.safetensors", TOLD, "sensor")
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    with pytest.raises(InputError, match=r"no checkpoint of torch 1\.6 or later"):
        import_checkpoint(tmp_path / "old.ckpt", tmp_path / "a.safetensors", TOLD, "sensor")
    whole = write(tmp_path / "whole.ckpt", small_network(), {}).read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="fetch it again"):
        import_checkpoint(tmp_path / "cut.ckpt", tmp_path / "a.safetensors", TOLD, "sensor")
    grid = write(tmp_path / "grid.ckpt", small_network(), {})
    with pytest.raises(InputError, match="cannot be built: range along x must be a multiple of 8 voxels"):
        import_checkpoint(grid, tmp_path / "a.safetensors", replace(TOLD, voxel=0.9), "sensor")


def test_command(tmp_path: Path) -> None:
    """As a user calls it: import, a refusal in one sentence, export."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stages.weights", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "."}
        )

    source = write(tmp_path / "a.ckpt", small_network(), {})
    refused = run("import", str(source), str(tmp_path / "a.safetensors"))
    assert (
        refused.returncode == 1 and refused.stderr.startswith("error: checkpoint") and "Traceback" not in refused.stderr
    )
    told = ["--range", *map(str, SMALL.range), "--voxel", "1", "--iterations", "3"]
    done = run("import", str(source), str(tmp_path / "a.safetensors"), *told)
    assert done.returncode == 0, done.stderr
    assert "deflow with 3 iterations, 8 channels, 16 x 16 pillars of 1.0 m, points in the sensor frame" in done.stdout
    assert run("export", str(tmp_path / "a.safetensors"), str(tmp_path / "b.ckpt")).returncode == 0
    assert (tmp_path / "b.ckpt").exists()
