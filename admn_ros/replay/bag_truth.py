# SPDX-License-Identifier: Apache-2.0
"""Settings of recordings: topics and ground truth."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from admn_ros.config import Finite, Positive, Strict
from admn_ros.deployment import DeploymentConfig


class BagTruth(Strict):
    """Topics of recordings, and their ground truth."""

    deployment: DeploymentConfig = Field(
        description="deployment file with the topics of the recordings, or the name of one in config/, such as gdtm")
    truth: str | None = Field(
        default=None, description="ground truth: topic, tf:FRAME, or CSV or TUM file (default: /ground_truth/pose, if "
                                  "recorded)")
    true_class: str | None = Field(default=None, description="class of the target (default: as noted by the simulator)")
    align: Literal["linear", "nearest"] = Field(
        default="linear", description="interpolation between ground-truth samples")
    max_gap_s: Positive = Field(
        default=0.1, description="largest gap between ground-truth samples to interpolate across, in seconds")
    offset_s: Finite = Field(default=0.0, description="time offset added to the ground-truth stamps, in seconds")
