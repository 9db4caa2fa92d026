# SPDX-License-Identifier: Apache-2.0
"""How bags are read, and where their ground truth comes from."""

from __future__ import annotations

from typing import Literal

from admn_ros.config import Finite, Positive, Strict
from admn_ros.deployment import DeploymentConfig


class BagTruth(Strict):
    """How bags are read and what is true of them.

    deployment: topics, synchronization, as the node has them.
    truth: topic of poses, `tf:CHILD` for a frame in TF, or a CSV or TUM file; null takes /ground_truth/pose if the
        bag has it.
    true_class: class of the target all through; null takes what the simulator noted in the bag, if anything.
    align: how truth is read between its stamps.
    max_gap_s: truth further away than this, or between stamps further apart, is none.
    offset_s: added to the stamps of the truth.
    """

    deployment: DeploymentConfig
    truth: str | None = None
    true_class: str | None = None
    align: Literal["linear", "nearest"] = "linear"
    max_gap_s: Positive = 0.1
    offset_s: Finite = 0.0
