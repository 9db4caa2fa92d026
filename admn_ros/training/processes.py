# SPDX-License-Identifier: Apache-2.0
"""The processes of a run: one, or one per GPU under `torchrun`.

torch's `DistributedDataParallel` requires one `forward`, a gradient for every weight, and equal parts of a batch. Here
dropped layers leave weights without gradient, and a batch may not divide evenly. Each process is therefore weighted by
its number of samples, and any number of processes trains on the same batches.
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
TIMEOUT = timedelta(hours=4)
"""How long the other processes wait for the first one, which validates and writes."""


@dataclass(frozen=True)
class Processes:
    """This process of a run, and the number of all.

    Attributes:
        rank: number of this process, from 0. Only the first process writes.
        count: number of processes.
        device: device of this process.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default=torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def lead(self, call: Callable[[], T]) -> T:
        """Call a function in the first process; return its result in all.

        Raises:
            AdmnError: in all processes, if the call raises it.
        """
        if self.count == 1:
            return call()
        received: list[tuple[T | None, str | None]] = [(None, None)]
        if not self.leads:
            distributed.broadcast_object_list(received)
            result, problem = received[0]
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
        """Return the number of samples of a batch that this process takes: every `count`-th, starting at its rank."""
        return len(range(self.rank, samples, self.count))

    def add_up(self, losses: Tensor, parameters: Sequence[nn.Parameter], share: float) -> Tensor:
        """Sum losses and gradients over the processes; gradients in place.

        Args:
            losses: losses (n,) of this process's samples; n is the same in all processes.
            parameters: the same in all processes. A parameter without gradient in all of them keeps none.
            share: fraction of the batch's samples that this process has; the shares sum to 1.

        Returns:
            Losses (n,) of the whole batch.
        """
        if self.count == 1:
            return losses
        # A single reduction, so that every process gets identical sums.
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
    """Join the processes that `torchrun` started, or return this one alone.

    Args:
        device: "cpu", "cuda", or "auto", which takes GPUs if there are any.

    Raises:
        InputError: the device does not exist, or there are more processes than GPUs.
    """
    rank, count, local = (int(os.environ.get(name, default)) for name, default in (
        ("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")))
    place = _place(device, local)
    if count == 1:
        yield Processes(device=place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=TIMEOUT)
    yield Processes(rank, count, place)
    # Not in a finally block: after an error others may wait for this process, and torchrun ends them when it exits.
    distributed.barrier()  # gloo may abort if a process leaves while another one still sends to it
    distributed.destroy_process_group()


def _place(name: str, local: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device(name)
    if not torch.cuda.is_available():
        raise InputError("device", name, "cpu; torch finds no GPU")
    gpus = torch.cuda.device_count()
    if local >= gpus:
        raise InputError("processes", f"more than {gpus}", "at most one per GPU, or device cpu")
    return torch.device("cuda", local)
