# SPDX-License-Identifier: Apache-2.0
"""The processes of a run: one, or as many as `torchrun` starts, one for each GPU.

Not torch's `DistributedDataParallel`, which wants one `forward`, a use for every weight, and equal parts of a
batch. Here dropped layers leave weights without gradient, and the last batch of an epoch need not divide: what
each process has counts by its number of samples, so that any number of processes trains on the same batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from admn_ros.errors import AdmnError, InputError

T = TypeVar("T")
PATIENCE = timedelta(hours=4)
"""The others wait so long for the first process, which validates and writes."""


@dataclass(frozen=True)
class Processes:
    """This process among those of a run.

    rank, count: its number, from 0, and how many there are. The first one leads: it alone writes.
    device: where it computes.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def lead(self, call: Callable[[], T]) -> T:
        """Call something in the first process alone; all get its result.

        Raises:
            AdmnError: what the call raises, in all of them.
        """
        if self.count == 1:
            return call()
        said: list[tuple[T | None, str | None]] = [(None, None)]
        if not self.leads:
            distributed.broadcast_object_list(said)
            result, problem = said[0]
            if problem is not None:
                raise AdmnError(problem)
            return result  # type: ignore[return-value]
        try:
            result = call()
        except AdmnError as error:
            distributed.broadcast_object_list([(None, str(error))])
            raise
        distributed.broadcast_object_list([(result, None)])
        return result

    def own(self, samples: int) -> int:
        """How many samples of a batch are this process's: it takes each `count`-th one, from its rank on."""
        return len(range(self.rank, samples, self.count))

    def add_up(self, losses: Tensor, parameters: Sequence[nn.Parameter], share: float) -> Tensor:
        """Sum losses and gradients over the processes, in place for the gradients.

        Args:
            losses: (n,) of this process's samples; n is the same in all processes.
            parameters: the same in all processes. One without gradient in all of them keeps none.
            share: of this process's samples in the batch; shares sum to 1.

        Returns:
            (n,) losses of the whole batch.
        """
        if self.count == 1:
            return losses
        # One exchange for everything, and every process gets the very same sums.
        there = torch.tensor([p.grad is not None for p in parameters], dtype=losses.dtype, device=losses.device)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad * share for p in parameters]
        flat = torch.cat([losses * share, there, *(part.reshape(-1) for part in parts)])
        distributed.all_reduce(flat)
        total, there, *pieces = torch.split(flat, [len(losses), len(there), *(p.numel() for p in parameters)])
        for parameter, held, piece in zip(parameters, there.tolist(), pieces, strict=True):
            parameter.grad = piece.view_as(parameter) if held else None
        return total


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that `torchrun` started this one among, or this one alone.

    Args:
        device: "cpu", "cuda", or "auto", which takes GPUs if there are any.

    Raises:
        InputError: there is no such device, or there are more processes than GPUs.
    """
    rank, count, local = (int(os.environ.get(name, default)) for name, default in (
        ("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    place = _place(device, local)
    if count == 1:
        yield Processes(device=place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=PATIENCE)
    yield Processes(rank, count, place)
    # Neither after an error: the others may wait for this process, and torchrun ends them when it ends.
    distributed.barrier()  # nobody leaves while another still sends to it: gloo may abort then
    distributed.destroy_process_group()


def _place(name: str, local: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device(name)
    if not torch.cuda.is_available():
        raise InputError("device", name, "cpu; there is no GPU that torch can use")
    gpus = torch.cuda.device_count()
    if local >= gpus:
        raise InputError("processes", f"more than {gpus}", "at most one for each GPU, or the device cpu")
    return torch.device("cuda", local)
