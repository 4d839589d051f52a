# SPDX-FileCopyrightText: The sceneflow authors
# SPDX-License-Identifier: Apache-2.0
"""Where the processes of a training on several machines talk before they train: a few words in torch's store."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from models.errors import InputError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_COMING = timedelta(hours=1)  # of processes that have not started yet
_ANSWER = timedelta(minutes=30)  # of those that open their logs; srun sees a dead one, torchrun only on its own machine
_ANY = timedelta(days=365)  # another run may hold the same training; a process that dies ends the others anyway


class Alone(InputError):
    """A fault that keeps this process from the others, which do not hear of it: the launcher has to end them."""


class Heard(InputError):
    """A complaint that was answered to the first process, which tells it and lets all end by themselves."""


@dataclass(frozen=True)
class Meeting:
    """The first process tells what to do, the others answer whether they can, the first lets them go.

    Attributes:
        rank: number of this process.
        ranks: how many there are.
        store: what one sets all can read.
    """

    rank: int
    ranks: int
    store: Store

    @classmethod
    def join(cls) -> Meeting:
        """Meet the others at the address that the environment names; Alone where there is no way to it."""
        from torch.distributed import DistNetworkError
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        try:
            store, rank, ranks = next(rendezvous("env://", timeout=_COMING))
        except DistNetworkError as error:
            place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            raise Alone(f"process {os.environ['RANK']} cannot meet the others at {place} ({error})") from error
        return cls(rank, ranks, PrefixStore("sceneflow", store))

    def agree(self, told: Mapping[str, Any]) -> None:
        """As the first, tell the others and wait for their word.

        Raises:
            InputError: The first complaint.
            Alone: Some do not answer.
        """
        self.store.set("told", json.dumps(told))
        self._wait_for_answers()
        for rank in range(1, self.ranks):
            if complaint := self.store.get(f"answer{rank}").decode():
                raise InputError(complaint)
        self.store.set("go", "yes")

    def _wait_for_answers(self) -> None:
        from torch.distributed import DistStoreError

        try:
            self.store.wait([f"answer{rank}" for rank in range(1, self.ranks)], _ANSWER)
        except DistStoreError as error:
            silent = [str(rank) for rank in range(1, self.ranks) if not self.store.check([f"answer{rank}"])]
            if silent:
                raise Alone(
                    f"of {self.ranks} processes, number {', '.join(silent)} did not open the logs within"
                    f" {_ANSWER.total_seconds() / 60:.0f} minutes; look at the machines they run on and the disk that"
                    " all share, then run `dvc repro` again"
                ) from error

    def dismiss(self) -> None:
        """As the first, let those go that still wait for a word."""
        for word in ("told", "go"):
            if not self.store.check([word]):
                self.store.set(word, "")

    def told(self) -> Mapping[str, Any] | None:
        """As another, what the first told; None if there is nothing to train."""
        self.store.wait(["told"], _ANY)
        text = self.store.get("told").decode()
        return json.loads(text) if text else None

    def answer(self, complaint: str) -> None:
        """As another, say that all is well, by the empty text, or what is not."""
        self.store.set(f"answer{self.rank}", complaint)

    def may_go(self) -> bool:
        """As another, whether all answered well."""
        self.store.wait(["go"], _ANY)
        return bool(self.store.get("go"))
