# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""The data module: pairs of the train split, shuffled by seed and epoch alone, with a held-out block a log."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from models.data.augment import AugmentParameters, draw, jittered
from models.data.faults import Fault, FaultsAsValues, batch_or_raise, collate_or_fault
from models.data.labels import TrainLog
from models.data.samples import Batch, Sample
from models.errors import InputError
from models.grid import Grid

if TYPE_CHECKING:
    Pairs = list[tuple[int, int]]  # number of the log, first sweep


_ORDER, _CHANGES = 1, 2  # streams of random numbers that share nothing


def split_pairs(
    frames: NDArray[np.int64], share: float, sweeps: int = 2
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide the pairs of a log into those to train on and the last block, held out.

    Args:
        frames: (K,) first sweeps of the pairs, ascending.
        share: Share of pairs to hold out; one at least where it is above 0 and leaves one to train on.
        sweeps: How many a sample holds; of three the first is the one before the pair.

    Returns:
        The two groups; a pair whose sample shares a sweep with one of the held-out block is in neither.
    """
    held = round(share * len(frames))
    if share > 0 and held == 0 and len(frames) > sweeps:
        held = 1
    if held == 0:
        return frames, frames[:0]
    block = frames[-held:]
    return frames[frames + sweeps - 1 < block[0]], block


class PairDataset(Dataset[Sample]):
    """Samples by (epoch, number); the same pair, epoch and seed give the same sample, whoever reads it."""

    def __init__(self, logs: Sequence[TrainLog], pairs: Pairs, grid: Grid, seed: int) -> None:
        self.logs = logs
        self.pairs = pairs
        self.grid = grid
        self.seed = seed
        self.augment: AugmentParameters | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, number = key
        log, frame = self.pairs[number]
        sample = self.logs[log].sample(frame)
        if self.augment is not None:
            random = np.random.default_rng([_CHANGES, self.seed, epoch, number])
            sample = changed(sample, self.augment, random)
        inside = [self.grid.inside(torch.from_numpy(points)).numpy() for points in sample.clouds()]
        return sample.keep(*inside)


def changed(sample: Sample, augment: AugmentParameters, random: np.random.Generator) -> Sample:
    """The sample after a random change."""
    change = draw(augment, random)
    if augment.drop > 0:
        left = [random.random(len(points)) >= augment.drop for points in sample.clouds()]
        sample = sample.keep(*left)
    clouds = [jittered(change.points(points), augment, random) for points in sample.clouds()]
    flow = None if sample.flow is None else change.flow(sample.flow)
    moved = replace(sample, points0=clouds[0], points1=clouds[1], flow=flow, before=(*clouds, None)[2])
    return _reversed(moved) if change.reverse else moved


def _reversed(sample: Sample) -> Sample:
    """The sample with time running backward; of three sweeps the middle one stays in the middle."""
    if sample.before is not None:
        return replace(
            sample,
            points1=sample.before,
            before=sample.points1,
            labels1=sample.labels_before,
            labels_before=sample.labels1,
        )
    return Sample(sample.points1, sample.points0, labels0=sample.labels1, labels1=sample.labels0)


class EpochSampler(Sampler[tuple[int, int]]):
    """Numbers of one epoch, in an order that depends on the seed and the epoch alone.

    With several processes each takes every `ranks`-th, and all take equally many.
    """

    def __init__(self, length: int, seed: int, shuffle: bool, rank: int = 0, ranks: int = 1) -> None:
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.rank, self.ranks = rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; called by the trainer."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.length // self.ranks)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([_ORDER, self.seed, self.epoch]).permutation(self.length)
        order = np.resize(order, len(self) * self.ranks)  # the first ones again, to make it even
        return ((self.epoch, int(number)) for number in order[self.rank :: self.ranks])


class EndlessSampler(Sampler[list[tuple[int, int]]]):
    """Batches of numbers of one epoch after the other, from the sampler's own on."""

    def __init__(self, sampler: EpochSampler, batch: int) -> None:
        self.sampler, self.batch = sampler, batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in itertools.count(self.sampler.epoch):
            self.sampler.set_epoch(epoch)
            numbers = list(self.sampler)
            yield from (numbers[start : start + self.batch] for start in range(0, len(numbers), self.batch))


class ContinuedLoader:
    """Batches of an epoch at a time, from workers that read on into the next while this one's steps still run.

    A loader of one epoch has nothing ready when it starts, and where an epoch is a few steps the device would wait for
    it every few steps. The batches are those of a loader of each epoch.

    Attributes:
        sampler: of the epoch that comes next.
    """

    def __init__(self, dataset: PairDataset, sampler: EpochSampler, batch: int, **how: Any) -> None:
        self.sampler = sampler
        self._steps = -(-len(sampler) // batch)
        self._ahead = copy.copy(sampler)  # of the workers
        self._loader = DataLoader(FaultsAsValues(dataset), batch_sampler=EndlessSampler(self._ahead, batch), **how)
        self._batches: Iterator[Batch | Fault] | None = None
        self._next = -1  # epoch that the batches go on with

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Batch | Fault]:
        if self._batches is None or self.sampler.epoch != self._next:
            self._ahead.set_epoch(self.sampler.epoch)
            self._batches = iter(self._loader)
        epoch, self._next = self.sampler.epoch, -1  # who leaves an epoch early starts the next one anew
        for step in range(self._steps):
            batch = next(self._batches)
            if step + 1 == self._steps:
                self._next = epoch + 1
            yield batch

    def close(self) -> None:
        """End the workers, which go when nothing holds their iterator any more."""
        self._batches = self._loader._iterator = None


class PairData(LightningDataModule):
    """Loaders of training and held-out pairs."""

    def __init__(
        self,
        logs: Sequence[TrainLog],
        grid: Grid,
        seed: int,
        pairs_at_a_time: int,
        held_out: float,
        minimum_dynamic: int,
        augment: AugmentParameters | None,
        workers: int,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        train: Pairs = []
        held: Pairs = []
        for number, log in enumerate(logs):
            first, last = split_pairs(log.pairs(), held_out, log.sweeps)
            train += [(number, int(frame)) for frame in first]
            held += [(number, int(frame)) for frame in last]
        if not train:
            raise InputError(
                "the train split holds no pair of sweeps to train on;"
                " give a log with at least two sweeps within the pair tolerance, or lower train.held_out"
            )
        self.train, self.held = (PairDataset(logs, pairs, grid, seed) for pairs in (train, held))
        self.train.augment = augment
        self.seed, self.pairs_at_a_time, self.workers = seed, pairs_at_a_time, workers
        self.pinned = device == "cuda" and torch.cuda.is_available()
        self.collate = partial(collate_or_fault, minimum_dynamic=minimum_dynamic)
        self._continued: ContinuedLoader | None = None

    def train_dataloader(self) -> DataLoader[Any] | ContinuedLoader:
        """All training pairs in shuffled order."""
        if self.workers == 0:
            return self._loader(self.train, shuffle=True)
        sampler = self._sampler(self.train, shuffle=True)
        self._continued = ContinuedLoader(self.train, sampler, self.pairs_at_a_time, **self._how())
        return self._continued

    def teardown(self, stage: str) -> None:
        """End the workers that read ahead; the framework only knows loaders of its own kind."""
        if self._continued is not None:
            self._continued.close()

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """The held-out pairs, none where the share is 0."""
        return self._loader(self.held, shuffle=False) if len(self.held) else []

    def transfer_batch_to_device(self, batch: Batch | Fault, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; offsets stay on the CPU. ReadError where it could not be read."""
        return batch_or_raise(batch).to(device)

    def pairs_of_step(self, part: int, parts: int) -> int:
        """Pairs of this process in the step that a part of an epoch belongs to; the last step may have fewer."""
        most = parts * self.pairs_at_a_time
        return min(most, len(self._sampler(self.train, shuffle=True)) - part // parts * most)

    def _loader(self, dataset: PairDataset, shuffle: bool) -> DataLoader[Any]:
        sampler = self._sampler(dataset, shuffle)
        return DataLoader(FaultsAsValues(dataset), self.pairs_at_a_time, sampler=sampler, **self._how())

    def _sampler(self, dataset: PairDataset, shuffle: bool) -> EpochSampler:
        trainer = self.trainer
        rank, ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return EpochSampler(len(dataset), self.seed, shuffle, rank, ranks)

    def _how(self) -> dict[str, Any]:
        return {
            "collate_fn": self.collate,
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "pin_memory": self.pinned,
        }
