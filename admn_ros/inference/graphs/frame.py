# SPDX-License-Identifier: Apache-2.0
"""The copies of frames to a device and back, and the rows on which each segment of them runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from admn_ros.errors import InputError
from admn_ros.inference.graphs.recorder import Recorder
from admn_ros.inference.graphs.tensors import Both, FrameTensors
from admn_ros.model.network import AdmnNetwork
from admn_ros.sample import Modality, SampleBatch

Active = Mapping[Modality, Sequence[int]]
"""Layers of each modality; modalities that are not named have none."""


@dataclass(frozen=True)
class Run:
    """What runs of a modality: a number of rows, and layers in order, each with its number of rows."""

    rows: int
    layers: tuple[tuple[int, int], ...]


class Frame:
    """Frames on their way to a device and back.

    Args:
        network: network on its device.
        tensors: tensors of the frames.
        recorder: what waits for the device.

    Attributes:
        waits: how often the device was waited for, since the beginning.
    """

    def __init__(self, network: AdmnNetwork, tensors: FrameTensors, recorder: Recorder) -> None:
        self.tensors, self.waits = tensors, 0
        self._recorder, self._poses = recorder, network.poses.cpu()
        self._nodes, self._observed = len(network.config.sensor_nodes), network.qoi.observed
        self._rows = {m: tensors.rows(tensors.inputs.host, m) for m in network.config.modalities}
        # Writing a few numbers is faster in NumPy than in PyTorch.
        self._inputs, self._choice = ({name: both.host[name].numpy() for name in both.host}
                                      for both in (tensors.inputs, tensors.choice))
        self._held: SampleBatch | None = None
        self._row_of: dict[Modality, dict[int, int]] = {}

    def upload(self, batch: SampleBatch, shares: Sequence[float]) -> dict[Modality, int]:
        """Copy the present inputs of frames, and the shares of their budgets, to the device.

        Returns:
            Number of inputs of each modality that the controller reads.

        Raises:
            InputError: the poses are of another number of sensor nodes.
        """
        self._held, host, counts = None, self._inputs, {}
        host["share"][:len(shares)] = shares
        host["here"].fill(False)
        if "poses" in host:
            self._copy_poses(batch)
        for place, (m, rows) in enumerate(self._rows.items()):
            present = self._present(batch, m)
            self._row_of[m] = {number: row for row, number in enumerate(present)}
            if not present:
                continue
            flat = batch.inputs[m].flatten(0, 1)
            for row, number in enumerate(present):
                rows[row].copy_(flat[number])
            looks = [row for row, number in enumerate(present) if number % self._nodes < self._observed]
            seen = [present[row] // self._nodes * self._observed + present[row] % self._nodes for row in looks]
            host["here"][place].reshape(-1)[seen] = True
            self._list(host["looks"][place], looks, 0)
            self._list(host["seen"][place], seen, host["here"][place].size)
            if looks:
                counts[m] = len(looks)
        self.tensors.inputs.device.copy_from(self.tensors.inputs.host, "rows", max(map(len, self._row_of.values())))
        self._held = batch
        return counts

    def choose(self, batch: SampleBatch, active: Sequence[Active]) -> dict[Modality, Run]:
        """Copy to the device which inputs run; the inputs as well, if they are not there yet.

        Args:
            batch: frames. Their inputs must not have changed if they are those of the last call of `upload`.
            active: layers of each frame, ascending.
        """
        running = {m: [n for n in self._present(batch, m) if active[n // self._nodes].get(m)] for m in self._rows}
        held = self._held
        if held is None or held.inputs is not batch.inputs or held.poses is not batch.poses \
                or any(n not in self._row_of[m] for m, numbers in running.items() for n in numbers):
            self.upload(batch, [1.0] * len(active))
        host, runs = self._choice, {}
        present = host["present"].reshape(len(host["present"]), len(self._rows), self._nodes)
        present.fill(False)
        for place, (m, numbers) in enumerate(running.items()):
            if not numbers:
                continue
            present[[n // self._nodes for n in numbers], place, [n % self._nodes for n in numbers]] = True
            self._list(host["rows"][place], [self._row_of[m][n] for n in numbers], 0)
            self._list(host["numbers"][place], numbers, self.tensors.frames * self._nodes)
            runs[m] = Run(len(numbers), self._layers(place, m, numbers, active))
        self.tensors.choice.device.copy_from(self.tensors.choice.host)
        return runs

    def fetch(self, both: Both, frames: int) -> dict[str, Tensor]:
        """Wait for the device, and return copies of what it computed for the first frames."""
        both.host.copy_from(both.device)
        self._recorder.wait()
        self.waits += 1
        return {name: both.host[name][:frames].clone() for name in both.host}

    def _layers(self, place: int, modality: Modality, numbers: Sequence[int],
                active: Sequence[Active]) -> tuple[tuple[int, int], ...]:
        """List the tokens that run each layer, and return the layers with their numbers of tokens."""
        if self.tensors.frames == 1:
            return tuple((layer, len(numbers)) for layer in active[0][modality])
        layers = [frozenset(active[n // self._nodes][modality]) for n in numbers]
        found = []
        for layer in sorted(frozenset().union(*layers)):
            tokens = [row for row, those in enumerate(layers) if layer in those]
            self._list(self._choice["layers"][place, layer], tokens, len(self._choice["layers"][place, layer]))
            found.append((layer, len(tokens)))
        return tuple(found)

    def _list(self, into: np.ndarray[tuple[int, ...], np.dtype[np.int64]], numbers: Sequence[int], spare: int) -> None:
        """Write numbers, and the spare one behind them as far as a recorded segment may read."""
        into[:len(numbers)] = numbers
        if self.tensors.frames > 1 and numbers:
            into[len(numbers):self.tensors.count(len(numbers))] = spare

    def _present(self, batch: SampleBatch, modality: Modality) -> list[int]:
        """Return the numbers of the present inputs of a modality."""
        if modality not in batch.inputs:
            return []
        present = batch.present[modality].flatten().tolist()
        return [number for number, here in enumerate(present) if here]

    def _copy_poses(self, batch: SampleBatch) -> None:
        poses = self._poses[None] if batch.poses is None else batch.poses
        if poses.shape[1:] != self._poses.shape:
            raise InputError("poses", tuple(poses.shape), ("B", *self._poses.shape))
        size = len(next(iter(batch.present.values())))
        self.tensors.inputs.host["poses"][:size].copy_(poses)
