# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What happens beside the steps: curves, checkpoints, a progress bar."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from models.errors import InputError
from models.training.checkpoint import replace_checkpoint
from models.training.module import FlowTraining
from models.training.parameters import TrainParameters

Row = dict[str, float]


class Curves(Callback):
    """One row of means an epoch to the logger.

    Rows travel in the checkpoint and are told again to the logger of a resumed run, so that its curves are whole.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the run that is resumed."""
        self.rows = list(state_dict["rows"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the logger what a killed run had told, also where no epoch is left to train."""
        for number, row in enumerate(self.rows, 1):
            _log(trainer, row, number)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep and log the means of the epoch; refuse to go on with a loss that is not finite."""
        if not isinstance(pl_module, FlowTraining):
            raise TypeError(f"curves are of FlowTraining, got {type(pl_module).__name__}")
        row = {**pl_module.take_means(), "learning_rate": trainer.optimizers[0].param_groups[0]["lr"]}
        if not all(math.isfinite(value) for value in row.values()):
            raise diverged(f"in epoch {trainer.current_epoch}: its loss is")
        _require_something(row, pl_module.parameters_of_training)
        self.rows.append(row)
        _log(trainer, row, len(self.rows))


def diverged(where: str) -> InputError:
    """What to tell of a training whose numbers left the finite ones."""
    return InputError(
        f"training diverged {where} not finite; lower train.learning_rate, or set or lower train.gradient_clip"
    )


def _require_something(row: Row, parameters: TrainParameters) -> None:
    """Refuse an epoch that could not teach anything."""
    if row["train/points"] == 0:
        raise InputError(f"no point of the training pairs lies inside train.model.range {list(parameters.model.range)}")
    if row.get("train/valid") == 0:
        raise InputError(f"no point of the training pairs has a flow to learn from (train.labels={parameters.labels})")
    weights = parameters.seflow.dynamic + parameters.seflow.cluster
    if parameters.loss in ("seflow", "seflow++") and row["train/without_dynamic"] == 1 and weights > 0:
        raise InputError(
            "no training pair has enough dynamic points for the terms dynamic and cluster;"
            " look at metrics/labels.json and lower train.seflow.minimum_dynamic, or set both weights to 0"
        )


def _log(trainer: Trainer, row: Row, number: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics({name: row[name] for name in sorted(row)}, step=number)
        logger.save()


class Checkpoints(Callback):
    """The state after an epoch under one name; a complete file replaces the one before it.

    It is written after the first and the last epoch, and in between when writing takes at most a twentieth of the time:
    epochs of a few steps on a GPU are shorter than that. Where a training goes on from does not change its result.
    """

    SHARE = 1 / 20  # of the time

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = -math.inf  # s, when the last one was done
        self.took = 0.0  # s

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and rename, if it is time."""
        start = time.monotonic()
        last = trainer.current_epoch + 1 == trainer.max_epochs
        due = last or self.took <= self.SHARE * (start - self.written)
        if trainer.strategy.broadcast(due):  # all processes do the same
            self._write(trainer)
            self.written = time.monotonic()
            self.took = self.written - start

    def _write(self, trainer: Trainer) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            replace_checkpoint(partial, self.path)


class Signals(Callback):
    """Leaves SIGTERM to the handler that was there before the training.

    The framework's own first tells the other processes, and waits for ever where they are within a step.
    """

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signal back."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handler)


class _Later:
    """A number on its way from the device, read when it has arrived: nothing waits for it."""

    def __init__(self, value: Tensor) -> None:
        self.copy = value.detach().to("cpu", non_blocking=True)
        self.event = torch.cuda.Event() if value.is_cuda else None  # type: ignore[no-untyped-call]
        if self.event is not None:
            self.event.record()

    def ready(self) -> bool:
        """Whether it has arrived."""
        return self.event is None or bool(self.event.query())  # type: ignore[no-untyped-call]

    def value(self) -> float:
        """The number."""
        return float(self.copy)


class Progress(Callback):
    """One bar over all steps of the training, with the time left."""

    EVERY = 10  # steps between readings of the loss

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None
        self.seen: _Later | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the step the training starts from."""
        steps = int(trainer.estimated_stepping_batches)
        self.bar = tqdm(
            total=steps, initial=trainer.global_step, desc="train", unit="step", disable=not trainer.is_global_zero
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance."""
        if self.bar is None:
            return
        done = trainer.global_step - self.bar.n
        if done == 0:  # a part of a batch
            return
        self.bar.update(done)
        if self.bar.n % self.EVERY == 0:
            if self.seen is not None and self.seen.ready():
                self.bar.set_postfix({"epoch": trainer.current_epoch, "loss": f"{self.seen.value():.4f}"})
            self.seen = _Later(outputs["loss"])

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
