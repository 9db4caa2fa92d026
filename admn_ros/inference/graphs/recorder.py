# SPDX-License-Identifier: Apache-2.0
"""Recording of work on fixed tensors, to run it again at once: CUDA graphs, or plain calls on a CPU."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

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

    def record(self, work: Work, group: object = None) -> Replay:
        """Return what runs the work again, in the order of calls and without waiting for its end.

        Args:
            work: work to record.
            group: recordings of different groups may run beside each other.
        """

    def beside(self, works: Sequence[Work]) -> None:
        """Run works beside each other: each replays recordings of another group, and writes other tensors."""

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

    def record(self, work: Work, group: object = None) -> Replay:
        """Return the work itself."""
        return work

    def beside(self, works: Sequence[Work]) -> None:
        """Run one work after another."""
        for work in works:
            work()

    def wait(self) -> None:
        """Return at once: on a CPU work has run when its call returns."""

    def close(self) -> None:
        """Do nothing."""


class CudaRecorder:
    """CUDA graphs that share one pool of memory for each group.

    Sharing is safe in any order of replays, because results are in tensors from outside of the pool.

    Args:
        device: GPU.

    Attributes:
        device: the GPU, with its index.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self._groups: dict[object, _Group] = {}
        self._graphs: list[torch.cuda.CUDAGraph] = []
        self._lanes: list[_Lane] = []
        self._fork = _event()

    def record(self, work: Work, group: object = None) -> Replay:
        """Run the work to warm up, and capture it. See `Recorder.record`.

        Raises:
            RuntimeError: the work cannot be captured, or there is not enough memory.
        """
        if group not in self._groups:
            self._groups[group] = _Group(_take_stream(self.device), torch.cuda.graph_pool_handle())
        stream, pool = self._groups[group]
        with torch.cuda.device(self.device), _true_float32(), _without_collection():
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_RUNS):
                    work()
                stream.synchronize()
                graph = _capture(work, pool)
            torch.cuda.current_stream().wait_stream(stream)
        self._graphs.append(graph)
        return graph.replay

    def beside(self, works: Sequence[Work]) -> None:
        """Run the first work on the current stream, and the others on streams of their own meanwhile."""
        current, others = torch.cuda.current_stream(self.device), works[1:]
        while len(self._lanes) < len(others):
            self._lanes.append(_Lane(_take_stream(self.device), _event()))
        if others:
            self._fork.record(current)
        for work, lane in zip(others, self._lanes, strict=False):
            lane.stream.wait_event(self._fork)
            with torch.cuda.stream(lane.stream):
                work()
            lane.done.record(lane.stream)
        for work in works[:1]:
            work()
        for _, lane in zip(others, self._lanes, strict=False):
            current.wait_event(lane.done)

    def wait(self) -> None:
        """Wait for the current stream."""
        torch.cuda.current_stream(self.device).synchronize()

    def close(self) -> None:
        """Free all graphs and their memory."""
        torch.cuda.synchronize(self.device)
        for graph in self._graphs:
            graph.reset()
        _FREE_STREAMS.extend(group.stream for group in self._groups.values())
        _FREE_STREAMS.extend(lane.stream for lane in self._lanes)
        self._graphs, self._groups, self._lanes = [], {}, []


class _Group(NamedTuple):
    """Stream and memory of captures. A capture holds the memory that libraries keep for its stream, so that two of the
    same stream must not run beside each other."""

    stream: torch.cuda.Stream
    pool: Any


class _Lane(NamedTuple):
    """Stream of replays, and the event of their end."""

    stream: torch.cuda.Stream
    done: torch.cuda.Event


_FREE_STREAMS: list[torch.cuda.Stream] = []
"""Streams of closed recorders. They are used again, because libraries keep memory for every stream that they know."""


def _take_stream(device: torch.device) -> torch.cuda.Stream:
    for stream in _FREE_STREAMS:
        if stream.device == device:
            _FREE_STREAMS.remove(stream)
            return stream
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _capture(work: Work, pool: Any) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    # Other threads, such as those of another node in the process, may go on using the GPU meanwhile.
    graph.capture_begin(pool=pool, capture_error_mode="thread_local")
    try:
        work()
    except BaseException:
        with suppress(RuntimeError):  # ends the capture; that it is invalid is known
            graph.capture_end()
        raise
    graph.capture_end()
    return graph


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
