# SPDX-License-Identifier: Apache-2.0
"""A dataset of several sensor nodes as one of a single node: each sample is seen from each of them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from admn_ros.datasets.source import LabeledReadings, SampleSource, SourceView
from admn_ros.errors import InputError
from admn_ros.sample import SensorKey


class Viewpoints(SourceView):
    """Samples of a source as each of several sensor nodes sees them. Sample i of node v is number v * size + i.

    A model of one sensor node learns from the views of all of them.

    Args:
        source: samples with the poses of their nodes.
        nodes: nodes whose views are taken.
        name: name of the only sensor node that the samples then have.
    """

    def __init__(self, source: SampleSource, nodes: Sequence[str], name: str) -> None:
        super().__init__(source)
        self._nodes, self._name = tuple(nodes), name

    def __len__(self) -> int:
        return len(self.source) * len(self._nodes)

    def origin(self, index: int) -> int:
        """See `SourceView`."""
        return index % len(self.source)

    def view(self, sample: LabeledReadings, index: int) -> LabeledReadings:
        """Return a sample as one node sees it.

        Raises:
            InputError: the source does not know the pose of the node.
        """
        node = self._nodes[index // len(self.source)]
        if sample.poses is None or node not in sample.poses:
            raise InputError("viewpoints", node, f"a node with a pose: {', '.join(sample.poses or ['none has one'])}")
        readings = {SensorKey(self._name, k.modality): x for k, x in sample.readings.items() if k.node == node}
        return replace(sample, readings=readings, poses={self._name: sample.poses[node]})
