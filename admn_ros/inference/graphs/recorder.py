# SPDX-License-Identifier: Apache-2.0
"""Recording of work on fixed tensors, to run it again at once: CUDA graphs, or plain calls on a CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Protocol

import torch

Work = Callable[[], object]
Replay = Callable[[], object]
WARM_UP_RUNS = 2
"""Runs before a recording, in which libraries choose their kernels and take their memory."""


class Recorder(Protocol):
    """Records work that reads and writes tensors at fixed addresses, allocates nothing that outlives it, and never
    waits for the device.

    Attributes:
        device: where the work runs.
    """

    device: torch.device

    def record(self, work: Work) -> Replay:
        """Return what runs the work again, in the order of calls and without waiting for its end."""

    def wait(self) -> None:
        """Wait until everything before has run."""

    def close(self) -> None:
        """Free all recordings. None of them may be replayed afterwards."""


class DirectRecorder:
    """Work as it is, on a CPU: the reference of what a recording does.

    Attributes:
        device: the CPU.
    """

    def __init__(self) -> None:
        self.device = torch.device("cpu")

    def record(self, work: Work) -> Replay:
        """Return the work itself."""
        return work

    def wait(self) -> None:
        """Return at once: on a CPU work has run when its call returns."""

    def close(self) -> None:
        """Do nothing."""


class CudaRecorder:
    """CUDA graphs that share one pool of memory.

    Sharing is safe in any order of replays, because results are in tensors from outside of the pool.

    Args:
        device: GPU.

    Attributes:
        device: the GPU, with its index.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self._stream, self._pool = _capture_stream(self.device), torch.cuda.graph_pool_handle()
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def record(self, work: Work) -> Replay:
        """Run the work to warm up, and capture it.

        Raises:
            RuntimeError: the work cannot be captured, or there is not enough memory.
        """
        with torch.cuda.device(self.device), _true_float32(), _without_collection():
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UP_RUNS):
                    work()
                self._stream.synchronize()
                graph = self._capture(work)
            torch.cuda.current_stream().wait_stream(self._stream)
        self._graphs.append(graph)
        return graph.replay

    def _capture(self, work: Work) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as those of another node in the process, may go on using the GPU meanwhile.
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            work()
        except BaseException:
            with suppress(RuntimeError):  # ends the capture; that it is invalid is known
                graph.capture_end()
            raise
        graph.capture_end()
        return graph

    def wait(self) -> None:
        """Wait for the stream of the replays."""
        torch.cuda.current_stream(self.device).synchronize()

    def close(self) -> None:
        """Free all graphs and their memory."""
        torch.cuda.synchronize(self.device)
        for graph in self._graphs:
            graph.reset()
        self._graphs.clear()


@lru_cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream of all captures on a GPU. Libraries keep memory for every stream that they have seen."""
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


@contextmanager
def _true_float32() -> Iterator[None]:
    """Let convolutions compute float32 as float32: by default cuDNN rounds their inputs to 10 bits (TF32)."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        yield


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep the garbage collector from freeing memory of a GPU in the middle of a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
