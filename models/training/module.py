# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The one LightningModule: network, loss, optimiser, moving average."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from models.data.samples import Batch
from models.losses.labels import ClusterLabels
from models.losses.seflow import seflow_loss, seflow_pp_loss
from models.losses.supervised import deflow_loss, ff3d_loss, zeroflow_loss
from models.losses.truth import Truth
from models.network import PillarFlow, channels_last
from models.training.parameters import TrainParameters
from models.training.schedule import factor

if TYPE_CHECKING:
    from models.data.module import PairData


class FlowTraining(LightningModule):
    """Trains a network by the loss that the parameters name.

    `sums` holds the unweighted terms and the weighted loss summed over the steps of an epoch, on the device:
    nothing waits for them before the epoch ends.
    """

    def __init__(self, parameters: TrainParameters) -> None:
        super().__init__()
        self.parameters_of_training = parameters
        self.network: PillarFlow = channels_last(parameters.model.build())
        self.network.precision = parameters.precision
        self.average = copy.deepcopy(self.network).requires_grad_(False) if parameters.ema > 0 else None
        self.sums: dict[str, Tensor] = {}
        self.followed = 0  # steps that the moving average has seen

    def trained_network(self) -> nn.Module:
        """The network whose weights are kept: the moving average where there is one."""
        return self.network if self.average is None else self.average

    def losses(self, network: nn.Module, batch: Batch, progress: float = 1.0) -> dict[str, Tensor]:
        """Unweighted terms of the loss, and `loss`, their sum by the weights at this share of all steps."""
        three = self.parameters_of_training.model.sweeps == 3
        flow = network(batch.cloud0, batch.cloud1, batch.before) if three else network(batch.cloud0, batch.cloud1)
        terms, weights = loss_terms(self.parameters_of_training, flow, batch, progress)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {**terms, "loss": loss}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        progress = self.global_step / int(self.trainer.estimated_stepping_batches)
        losses = self.losses(self.network, batch, progress)
        self._add("train", losses, batch)
        parts = self.parameters_of_training.accumulate
        return losses["loss"] if parts == 1 else losses["loss"] * self._share_of_step(batch, batch_idx, parts)

    def _share_of_step(self, batch: Batch, part: int, parts: int) -> float:
        """The part's pairs by those of its step, times `parts`, by which the framework divides whatever comes.

        So a step is a mean over its pairs also where the epoch ends within it.
        """
        data: PairData = self.trainer.datamodule  # type: ignore[attr-defined]
        return parts * batch.cloud0.size / data.pairs_of_step(part, parts)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss of a held-out batch."""
        self._add("held", self.losses(self.trained_network(), batch), batch)

    def on_train_start(self) -> None:
        """Count on from the step that a resumed training starts with."""
        self.followed = self.global_step

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Follow the weights by their moving average, once a step."""
        if self.average is not None and self.global_step > self.followed:
            self.followed = self.global_step
            follow(self.average, self.network, self.parameters_of_training.ema, self.global_step)

    def configure_optimizers(self) -> Any:
        """AdamW (Adam where the weight decay is 0), the rate set at each step."""
        p = self.parameters_of_training
        optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=p.learning_rate, weight_decay=p.weight_decay, fused=True
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: factor(p.schedule, step, steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _add(self, part: str, losses: dict[str, Tensor], batch: Batch) -> None:
        skipped = batch.target.skipped if isinstance(batch.target, ClusterLabels) else 0
        for name, value in losses.items():
            self._sum(f"{part}/{name}", value.detach().double() * batch.cloud0.size)
        self._sum(f"{part}/points", torch.tensor(float(len(batch.cloud0.points))))
        self._sum(f"{part}/samples", torch.tensor(float(batch.cloud0.size)))
        if isinstance(batch.target, Truth):
            self._sum(f"{part}/valid", batch.target.valid.sum().double())
        self._sum(f"{part}/without_dynamic", torch.tensor(float(skipped)))

    def _sum(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value

    def take_means(self) -> dict[str, float]:
        """Means over the samples since the last call; waits for the device."""
        sums = self._over_all_devices()
        self.sums = {}
        parts = {name.split("/")[0] for name in sums}
        count = {part: sums.pop(f"{part}/samples") for part in sorted(parts)}
        return {name: total / count[name.split("/")[0]] for name, total in sums.items()}

    def _over_all_devices(self) -> dict[str, float]:
        if self._trainer is None or self.trainer.world_size == 1:
            return {name: float(value) for name, value in self.sums.items()}
        total = torch.stack([value.to(self.device, torch.float64) for value in self.sums.values()])
        torch.distributed.all_reduce(total)
        return dict(zip(self.sums, total.tolist(), strict=True))


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the average toward the network after `step` steps (from 1 on).

    The decay rises to its full value, so that the first weights, which are worth nothing, are soon forgotten.
    """
    decay = min(decay, (1 + step) / (10 + step))
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    averaged = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_([a for a, _ in averaged], [b for _, b in averaged], 1 - decay)
    for a, b in pairs:
        if not a.is_floating_point():  # counters of batch norm
            a.copy_(b)


def loss_terms(
    parameters: TrainParameters, flow: Tensor, batch: Batch, progress: float
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Unweighted terms of the loss that the parameters name, and the weight of each at a share of all steps.

    The static term at full weight from the first step can drive all flow to zero before the others have taught
    the network anything, and at zero it stays: so its weight rises.
    """
    target = batch.target
    if isinstance(target, ClusterLabels):
        p = parameters.seflow
        if parameters.loss == "seflow++":
            if batch.before is None:
                raise ValueError("seflow++ needs batches of three sweeps, got two")
            terms = seflow_pp_loss(flow, batch.cloud0, batch.cloud1, batch.before, target, p.cap)
        else:
            terms = seflow_loss(flow, batch.cloud0, batch.cloud1, target, p.cap)
        weights = {name: float(getattr(p, name)) for name in terms}
        weights["static"] *= min(1.0, progress / p.static_warmup) if p.static_warmup > 0 else 1.0
        return terms, weights
    if parameters.loss == "deflow":
        terms = deflow_loss(flow, batch.cloud0, target)
        return terms, {name: getattr(parameters.deflow, name) for name in terms}
    supervised = ff3d_loss if parameters.loss == "ff3d" else zeroflow_loss
    return supervised(flow, batch.cloud0, target), {"flow": 1.0}
