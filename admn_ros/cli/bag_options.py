# SPDX-License-Identifier: Apache-2.0
"""Options of every command that reads recordings with their truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_truth_options(options: argparse._ActionsContainer) -> None:
    """Topics, truth and its alignment."""
    options.add_argument("--sensors", type=Path, metavar="FILE",
                         help="deployment file, such as config/gdtm.yaml: topics")
    options.add_argument("--truth", help="topic of poses, tf:FRAME, or a CSV or TUM file "
                                         "(default: /ground_truth/pose, if there)")
    options.add_argument("--true-class", metavar="CLASS",
                         help="class of the target all through (default: as simulated)")
    options.add_argument("--align", default="linear", choices=("linear", "nearest"), help="between true positions")
    options.add_argument("--max-gap-s", type=float, default=0.1,
                         help="further apart, they say nothing (default: 0.1)")
    options.add_argument("--offset-s", type=float, default=0.0, help="added to the truth's stamps (default: 0)")


def truth_settings(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_truth_options` gave, for `admn_ros.evaluation.plan.BagTruth`.

    Raises:
        InputError: no deployment file.
        ConfigError: one that cannot be used.
    """
    from admn_ros.config import load_config
    from admn_ros.deployment import DeploymentConfig
    from admn_ros.errors import InputError

    if options.sensors is None:
        raise InputError("--sensors", "nothing", "a deployment file with the bags' topics, such as config/gdtm.yaml")
    deployment = load_config(DeploymentConfig, options.sensors)
    return {"deployment": deployment.model_dump(mode="json"), "truth": options.truth,
            "true_class": options.true_class, "align": options.align, "max_gap_s": options.max_gap_s,
            "offset_s": options.offset_s}
