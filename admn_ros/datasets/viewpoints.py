# SPDX-License-Identifier: Apache-2.0
"""A dataset of several sensor nodes as one of a single node: each sample is seen from each of them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from admn_ros.datasets.source import LabeledReadings, SampleSource, check_index
from admn_ros.errors import InputError
from admn_ros.sample import SensorKey


class Viewpoints:
    """Samples of a source as single sensor nodes see them, under one name: sample i of node v is number v * size + i.

    A model of one sensor node, told where it stands, learns from all of them.

    Args:
        source: samples with the poses of their nodes.
        nodes: whose views are taken.
        name: of the only node that the samples then have.
    """

    def __init__(self, source: SampleSource, nodes: Sequence[str], name: str) -> None:
        self._source, self._nodes, self._name = source, tuple(nodes), name

    def __len__(self) -> int:
        return len(self._source) * len(self._nodes)

    def __getitem__(self, index: int) -> LabeledReadings:
        """One sample from one node.

        Raises:
            InputError: as the source, or a node of which it does not know the pose.
            IndexError: no such sample.
        """
        view, at = divmod(check_index(index, len(self)), len(self._source))
        node, whole = self._nodes[view], self._source[at]
        if whole.poses is None or node not in whole.poses:
            raise InputError("viewpoints", node, f"a node with a pose: {', '.join(whole.poses or ['none has one'])}")
        readings = {SensorKey(self._name, k.modality): x for k, x in whole.readings.items() if k.node == node}
        return replace(whole, readings=readings, poses={self._name: whole.poses[node]})
