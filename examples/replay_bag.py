# SPDX-License-Identifier: Apache-2.0
"""Run a recording through the pipeline of the perception node, without ROS.

    python examples/replay_bag.py [BAG SENSORS_FILE]

Without arguments this takes the recording that the package ships. Every 15th frame is
processed, with the next of four budgets, in a cycle.
"""

from __future__ import annotations

import sys

import numpy as np

import admn_ros
from admn_ros.deployment import load_deployment
from admn_ros.replay.bag_frames import bag_frames, bag_inputs
from admn_ros.replay.bag_info import longest_wait_s
from admn_ros.replay.ground_truth_sources import find_track
from admn_ros.share import find_shipped

BUDGETS = (4, 3, 2, 1)
EVERY = 15


def main(bag_path: str = "demo", sensors: str = "demo") -> None:
    """Print the estimate of every 15th frame, and its error where the recording has ground truth."""
    deployment = load_deployment(sensors)
    pipeline = admn_ros.Pipeline.load("gdtm", deployment)
    with admn_ros.BagReader(find_shipped(bag_path, "config")) as bag:
        track, _ = find_track(bag, None, pipeline.engine.config.frame_id)
        topics, absent = bag_inputs(bag, pipeline.frames)
        print(f"{len(topics)} inputs, {len(absent)} configured topics are not in the recording")
        frames = bag_frames(bag, pipeline.frames, longest_wait_s(deployment))
        for number, (frame, _) in enumerate(frames):
            if number % EVERY:
                continue
            budget = admn_ros.Budget(BUDGETS[number // EVERY % len(BUDGETS)], "layers")
            estimate = pipeline.process(frame, budget)
            truth = None if track is None else track.at(np.array([frame.stamp_ns]), "linear", 0.1)[0]
            print(describe(number, budget, estimate, truth))


def describe(number: int, budget: admn_ros.Budget, estimate: admn_ros.Estimate, truth: np.ndarray | None) -> str:
    """Return one line about a frame; `truth` is the position (3,) in metres, NaN where it is not known."""
    used = " ".join(f"{modality} {len(layers)}" for modality, layers in estimate.allocation.active.items() if layers)
    line = f"frame {number:3}, budget {budget.limit:2.0f}: {used or 'nothing ran'}"
    if estimate.mean_m is None or truth is None or not np.isfinite(truth[:2]).all():
        return line
    error_cm = 100 * float(np.linalg.norm(estimate.mean_m[:2] - truth[:2]))
    return f"{line}; error {error_cm:.0f} cm"


if __name__ == "__main__":
    main(*sys.argv[1:])
