# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""A step that several processes share is the step of one."""

from pathlib import Path

import pytest

from tests.models.processes import TWO_GPUS, run_processes

RANK = """
import os, sys, torch
from dataclasses import replace
from torch.nn.parallel import DistributedDataParallel
from models.data.samples import collate
from models.norm import share_statistics
from models.training.module import FlowTraining
from tests.models.conftest import small_parameters
from tests.models.synthetic import samples

class Step(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, batch):
        return self.module.losses(self.module.network, batch)["loss"]

rank, kind, precision = int(os.environ["RANK"]), *sys.argv[1:]
cuda = kind == "cuda"
device = torch.device(kind, rank) if cuda else torch.device(kind)
if cuda:
    torch.cuda.set_device(rank)
    torch.backends.cudnn.allow_tf32 = False
torch.distributed.init_process_group("nccl" if cuda else "gloo")
parameters = replace(small_parameters(), precision=precision)
torch.manual_seed(0)
alone = FlowTraining(parameters).to(device).train()
module = FlowTraining(parameters).to(device).train()
module.load_state_dict(alone.state_dict())
share_statistics(module.network)
how = {"static_graph": True, "gradient_as_bucket_view": True, "broadcast_buffers": False}  # as in models.training.fit
step_of_all = DistributedDataParallel(Step(module), device_ids=[rank] if cuda else None, **how)
pairs = samples(parameters, 4)
whole, own = (collate(some, 20).to(device) for some in (pairs, pairs[2 * rank : 2 * rank + 2]))
for step in range(4):  # the first two find out what there is to exchange
    module.zero_grad()
    if cuda and step == 3:
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
    step_of_all(own).backward()
    if cuda:
        torch.cuda.set_sync_debug_mode("default")
alone.losses(alone.network, whole)["loss"].backward()
scale = max(float(p.grad.abs().max()) for p in alone.network.parameters())
# Sums in another order, on a GPU by other kernels for another batch; bfloat16 rounds each value of an image to 1/256.
tolerance = {"cpu": 1e-5, "cuda": 1e-3}[kind] if precision == "fp32" else 5e-2
for (name, a), b in zip(alone.network.named_parameters(), module.network.parameters(), strict=True):
    torch.testing.assert_close(b.grad, a.grad, atol=tolerance * scale, rtol=10 * tolerance, msg=name)
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "fp32"), *(pytest.param("cuda", precision, marks=TWO_GPUS) for precision in ("fp32", "bf16"))],
)
def test_a_step_of_two_processes_is_that_of_one_and_waits_for_nothing(
    device: str, precision: str, tmp_path: Path
) -> None:
    """Each computes two of four pairs; their gradients are those of one process for all four."""
    run_processes(RANK, 2, tmp_path, device, precision)
