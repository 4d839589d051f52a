# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where a training step spends its time: forward by part, then loss, backward and optimiser."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tests.models.benchmark import Bench

STEPS = 10
PARTS = {
    "voxelise": ("embedder",),
    "encoder": ("backbone.encoder_step_1", "backbone.encoder_step_2", "backbone.encoder_step_3"),
    "decoder": (*(f"backbone.decoder_step{n}" for n in (1, 2, 3, 4)),),
    "head": ("head",),
}


class Clock:
    """Milliseconds between marks, on the device where there is one."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"

    def mark(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) if self.cuda else (end - start) * 1e3


def profile_rows(bench: Bench, training: Callable[..., Any]) -> list[dict[str, Any]]:
    """Milliseconds of each part of a step; parts of the forward pass by hooks on their modules, not compiled."""
    module, step = training(bench, bench.architecture(), "bf16", False)
    step()
    clock, spans = Clock(bench.device), defaultdict(list)
    handles = []
    for part, names in PARTS.items():
        for name in names:
            child = module.network.get_submodule(name)
            open_marks: list[Any] = []
            handles.append(child.register_forward_pre_hook(lambda *_, m=open_marks: m.append(clock.mark())))
            handles.append(
                child.register_forward_hook(lambda *_, m=open_marks, p=part: spans[p].append((m.pop(), clock.mark())))
            )
    optimiser = torch.optim.AdamW(module.network.parameters(), lr=2e-4, fused=bench.device == "cuda")
    for _ in range(STEPS):
        _one_step(bench, module, optimiser, clock, spans)
    for handle in handles:
        handle.remove()
    if bench.device == "cuda":
        torch.cuda.synchronize()
        _kernels(step)
    totals = {part: sum(clock.between(*span) for span in found) / STEPS for part, found in spans.items()}
    totals["head again in backward"] = 0.0  # the head's hooks run twice where its pieces are computed again
    return [bench.row(f"profile_{part}", [value], "ms") for part, value in totals.items() if value]


def _one_step(bench: Bench, module: Any, optimiser: Any, clock: Clock, spans: dict[str, Any]) -> None:
    optimiser.zero_grad(set_to_none=True)
    batch, start = bench.batch, clock.mark()
    flow = module.network(batch.cloud0, batch.cloud1)
    forward = clock.mark()
    from models.training.module import loss_terms

    terms, weights = loss_terms(module.parameters_of_training, flow, batch, 1.0)
    loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    of_loss = clock.mark()
    loss.backward()
    backward = clock.mark()
    torch.nn.utils.clip_grad_norm_(module.network.parameters(), 5.0)
    optimiser.step()
    marks = [start, forward, of_loss, backward, clock.mark()]
    for name, first, last in zip(("forward", "loss", "backward", "optimiser"), marks, marks[1:], strict=False):
        spans[name].append((first, last))


def _kernels(step: Callable[[], None]) -> None:
    """The kernels that take longest, to standard error."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
        for _ in range(3):
            step()
        torch.cuda.synchronize()
    sys.stderr.write(found.key_averages().table(sort_by="self_cuda_time_total", row_limit=40, max_name_column_width=70))
