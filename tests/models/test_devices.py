# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Several devices (two CPU processes stand for two GPUs), parts of a batch, precision: what may change and what not."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import pytest
import torch

from models.architecture import Architecture
from models.clouds import concatenate
from models.errors import InputError
from models.inference import flow_of_all
from models.training.compiled import compile_network
from models.training.parameters import TrainParameters
from models.weights import load_weights
from stages.learning import ranks
from stages.learning.train import train_flow
from stages.pipeline.code import ROOT
from tests.models.conftest import Trained
from tests.models.golden import fill_weights
from tests.models.processes import TWO_GPUS, run_processes


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEFLOW_STORE", str(tmp_path / "scratch"))
    monkeypatch.setenv("SCENEFLOW_DEVICE", "cpu")


def train(data: Path, out: Path, parameters: TrainParameters) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights, and the loss of each epoch."""
    train_flow(data, out / "flow.safetensors", out / "curves", parameters)
    return result(out)


def result(out: Path) -> tuple[dict[str, torch.Tensor], list[float]]:
    rows = (out / "curves/plots/metrics/train/loss.tsv").read_text().split("\n")[1:]
    return load_weights(out / "flow.safetensors")[0].state_dict(), [float(row.split("\t")[-1]) for row in rows if row]


def test_two_processes_train_as_one(by_two_devices: Trained, data: Path, tmp_path: Path) -> None:
    """The same batches and, by norms of the whole batch, the same loss but for the order of sums."""
    _, alone = train(data, tmp_path / "one", by_two_devices.parameters)
    weights, shared = result(by_two_devices.out)
    assert len(shared) == len(alone) == 4
    assert shared == pytest.approx(alone, rel=1e-4)
    assert shared != alone  # it was another training indeed
    assert all(value.isfinite().all() for value in weights.values())
    told = load_weights(by_two_devices.out / "flow.safetensors")[1]["training"]
    assert told["device"].startswith("2 x cpu")
    assert len(list((by_two_devices.folder / "scratch/train").glob("*.partial"))) == 0


@pytest.mark.parametrize(
    ("device", "accumulate"), [("cpu", 1), ("cpu", 2), *(pytest.param("cuda", n, marks=TWO_GPUS) for n in (1, 2))]
)
def test_weights_are_the_same_in_both_processes(
    device: str, accumulate: int, data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    """Each process of a training writes down a digest of its weights at the end."""
    told = json.dumps({"data": str(data), "out": str(tmp_path), "device": device})
    parameters = replace(parameters, batch=4, accumulate=accumulate, held_out=0.0, ema=0.9)
    values = json.dumps(_asdict(parameters))
    run_processes(RANK.format(told=repr(told), values=repr(values)), 2, tmp_path)
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in (0, 1))
    assert first == second != ""
    assert sorted(path.name for path in tmp_path.glob("*.ckpt")) == ["last.ckpt"]  # one writer


def _asdict(parameters: TrainParameters) -> dict:
    from dataclasses import asdict

    return asdict(parameters)


RANK = """
import hashlib, json, os
from pathlib import Path
from models.training.compiled import compile_network
from models.training.parameters import TrainParameters
from stages.learning.ranks import Run
from stages.pipeline.parameters import from_mapping
told = json.loads({told})
parameters = from_mapping("train", TrainParameters, json.loads({values}))
run = Run(Path(told["data"]), parameters, told["device"], 2, Path(told["out"]) / "last.ckpt", 0, False)
network = run.fit(None, run.logs())
digest = hashlib.sha256()
for name, value in network.state_dict().items():
    digest.update(value.contiguous().numpy().tobytes())
Path(told["out"], "rank" + os.environ["RANK"]).write_text(digest.hexdigest())
"""


WATCH = """
import signal, subprocess, sys, tempfile, threading, time
from stages.learning import ranks
ranks._GRACE = 0.2
{handler}
code = "import os, signal; os.kill(os.getpid(), signal.{how})"
done = threading.Event()
lives = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
ended = subprocess.Popen([sys.executable, "-c", code if "{how}" else ""])
ended.wait()
lives, ended = (ranks.Other(process, tempfile.TemporaryFile()) for process in (lives, ended))
if {done}:
    done.set()
threading.Thread(target=ranks._watch, args=([lives, ended], done), daemon=True).start()
time.sleep(3)
"""


@pytest.mark.parametrize(
    ("how", "done", "handler", "status"),
    [
        ("SIGKILL", False, "", -signal.SIGTERM),
        ("SIGKILL", False, "signal.signal(signal.SIGTERM, lambda *_: None)", 1),  # as one that waits in a handler
        ("SIGKILL", True, "", 0),
        ("", False, "", 0),
    ],
)
def test_a_process_that_was_killed_ends_the_training(how: str, done: bool, handler: str, status: int) -> None:
    """As by a lack of memory; not once the training is done, nor for one that ended well."""
    code = WATCH.format(how=how, done=done, handler=handler)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == status, run.stderr
    told = "error: the training of another device was killed by signal 9\n" if status else ""
    assert run.stderr == told


def test_what_another_process_told_is_its_sentence() -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    with TemporaryFile() as told:
        told.write("log Zürich: no".encode())
        told.flush()
        assert ranks._failure([ranks.Other(process, told)]) == "stopped: log Zürich: no"


def test_a_process_that_lingers_does_not_spoil_a_finished_training(
    data: Path, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended where it stands."""
    monkeypatch.setattr(ranks, "_GRACE", 0.0)  # it has not even loaded torch by then
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run = ranks.Run(data, parameters, "cpu", 2, tmp_path / "last.ckpt", 0, False)
    with ranks._other_ranks(run):
        pass


def test_a_batch_that_cannot_be_divided_is_refused(
    data: Path, tmp_path: Path, parameters: TrainParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="accumulate must divide the batch of 2 pairs, got 3"):
        replace(parameters, accumulate=3)
    monkeypatch.setenv("SCENEFLOW_DEVICES", "3")
    with pytest.raises(InputError, match=r"train\.batch 2 cannot be divided among 3 devices; make it a multiple of 3"):
        train(data, tmp_path, parameters)


def test_parts_of_a_batch_are_one_step(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    """As many steps, and nearly the same loss: batch norm sees a part at a time."""
    parameters = replace(parameters, batch=2, epochs=4, ema=0.5, held_out=0.0)
    whole, loss = train(data, tmp_path / "whole", parameters)
    parts, loss_of_parts = train(data, tmp_path / "parts", replace(parameters, accumulate=2))
    assert loss_of_parts == pytest.approx(loss, rel=0.15)
    counter = "backbone.encoder_step_1.0.batchnorm.num_batches_tracked"
    assert int(parts[counter]) == 2 * int(whole[counter])
    assert not torch.equal(parts["head.decoder.2.weight"], whole["head.decoder.2.weight"])


def test_a_step_of_fewer_pairs_than_the_batch_is_their_mean(
    data: Path, tmp_path: Path, parameters: TrainParameters
) -> None:
    """Six pairs, one step of one part: dividing it by the parts of a whole step would weigh it less."""
    parameters = replace(parameters, batch=12, epochs=1, held_out=0.0, gradient_clip=0.0)
    (whole, _), (parts, _) = (train(data, tmp_path / str(n), replace(parameters, accumulate=n)) for n in (1, 2))
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_bf16_flow_is_near_fp32() -> None:
    """Flow of about a metre, by weights that were not trained for it."""
    network = fill_weights(Architecture("deflow", (-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.5, 16, 2).build())
    generator = torch.Generator().manual_seed(0)
    clouds = [concatenate([torch.rand(400, 3, generator=generator) * 15.9 - 7.95]) for _ in range(2)]
    with torch.no_grad():
        exact, inside = flow_of_all(network, clouds)
        network.precision = "bf16"
        rough, _ = flow_of_all(network, clouds)
    error = (rough - exact)[inside].norm(dim=1)
    assert 0 < error.mean() < 0.02 * exact[inside].norm(dim=1).mean()
    assert rough.dtype == torch.float32


def test_bf16_training_follows_fp32(data: Path, tmp_path: Path, parameters: TrainParameters) -> None:
    parameters = replace(parameters, epochs=4)
    _, exact = train(data, tmp_path / "fp32", parameters)
    _, rough = train(data, tmp_path / "bf16", replace(parameters, precision="bf16"))
    assert rough == pytest.approx(exact, rel=0.05) and rough != exact


def test_flow_of_all_points_needs_no_cut() -> None:
    """What a GPU does without waiting gives the same flow as cutting first; points outside and NaN have none."""
    for kind in ("deflow", "fastflow3d", "deflowpp"):
        architecture = Architecture(kind, (-8.0, -4.0, -2.0, 8.0, 4.0, 2.0), 0.5, 8, 2)
        network = fill_weights(architecture.build())
        generator = torch.Generator().manual_seed(1)
        clouds = [
            concatenate([torch.rand(200 + i, 3, generator=generator) * 24 - 12, torch.rand(50, 3, generator=generator)])
            for i in range(architecture.sweeps)
        ]
        with torch.no_grad():
            wanted, inside = flow_of_all(network, clouds)
            given, given_inside = network.everywhere(*clouds)
            torch.testing.assert_close(given, wanted, atol=1e-5, rtol=0)
            assert torch.equal(given_inside, inside) and 0 < inside.sum() < len(inside)
            clouds[0].points[~inside] = torch.tensor([float("nan"), float("inf"), 0.0])
            torch.testing.assert_close(network.everywhere(*clouds)[0], given)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_network_is_the_same_function_with_the_same_names(precision: str) -> None:
    """Traced and differentiated as for a GPU, without the last step, which needs one; for any number of points."""
    architecture = Architecture("deflow", (-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 1.0, 8, 2)
    networks = [fill_weights(architecture.build()).train() for _ in range(2)]
    assert compile_network(networks[1], backend="aot_eager")
    for network in networks:
        network.precision = precision
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for points in (100, 150, 220):
        generator = torch.Generator().manual_seed(points)
        clouds = [concatenate([torch.rand(points, 3, generator=generator) * 3.9 - 1.95] * 2) for _ in range(2)]
        flows = [network(*clouds) for network in networks]
        torch.testing.assert_close(flows[1], flows[0], atol=1e-6, rtol=1e-5)
        for network, flow in zip(networks, flows, strict=True):
            network.zero_grad()
            flow.square().sum().backward()
        for (name, a), b in zip(networks[0].named_parameters(), networks[1].parameters(), strict=True):
            torch.testing.assert_close(b.grad, a.grad, atol=1e-4, rtol=1e-3, msg=name)
    assert list(networks[1].state_dict()) == list(networks[0].state_dict())
    assert sum(torch._dynamo.utils.counters["graph_break"].values()) == 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 3  # U-Net, and the head at most twice
