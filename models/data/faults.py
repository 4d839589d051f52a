# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""What a reading process finds wrong with the user's data, on its way to the process that tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch.utils.data import Dataset

from models.data.samples import Batch, Sample, collate
from models.errors import InputError


class ReadError(InputError):
    """A fault in what this process reads; the others of a training may not meet it."""


@dataclass(frozen=True)
class Fault:
    """The sentence of an InputError. Of the error itself torch would make one whose text is a traceback."""

    sentence: str


class FaultsAsValues(Dataset["Sample | Fault"]):
    """Samples of a dataset by its keys, and a fault in the place of each that cannot be read."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: tuple[int, int]) -> Sample | Fault:
        try:
            return self.dataset[key]
        except InputError as error:
            return Fault(str(error))


def collate_or_fault(samples: Sequence[Sample | Fault], minimum_dynamic: int) -> Batch | Fault:
    """The samples joined (see `collate`), or the first fault among them."""
    read = [sample for sample in samples if isinstance(sample, Sample)]
    return collate(read, minimum_dynamic) if len(read) == len(samples) else _first_fault(samples)


def _first_fault(samples: Sequence[Sample | Fault]) -> Fault:
    return next(sample for sample in samples if isinstance(sample, Fault))


def batch_or_raise(batch: Batch | Fault) -> Batch:
    """The batch; ReadError where reading it failed."""
    if isinstance(batch, Fault):
        raise ReadError(batch.sentence)
    return batch
