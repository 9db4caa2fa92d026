# SPDX-License-Identifier: Apache-2.0
"""Commands that convert recordings: convert rgbd, convert bag."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from admn_ros.cli.command import Commands, Parser, add_command, add_family, progress_bar, warn, whole
from admn_ros.cli.plan_options import add_plan_options, given_values, parse_options, with_deployment


def add_commands(commands: Commands) -> None:
    """Add the commands that convert recordings."""
    kinds = add_family(commands, "convert", "turn an image folder into a rosbag2, or rosbag2 recordings into a dataset")
    rgbd = add_command(kinds, "rgbd", "turn an RGB-D image folder (7-Scenes layout) into a rosbag2", _convert_rgbd)
    rgbd.add_argument("folder", type=Path, help="folder with frame-NNNNNN.color.jpg, .depth.png and .pose.txt")
    rgbd.add_argument("bag", type=Path, help="rosbag2 folder to write; must not exist")
    rgbd.add_argument("--storage", default="mcap", choices=("mcap", "sqlite3"),
                      help="storage format of the recording (default: mcap)")
    rgbd.add_argument("--depth", default="16UC1", choices=("16UC1", "32FC1"),
                      help="encoding of the depth images (default: 16UC1)")
    rgbd.add_argument("--limit", type=whole(1), metavar="N", help="largest number of frames (default: all)")
    add_command(kinds, "bag", "turn rosbag2 recordings into a dataset for admn train and admn evaluate", _convert_bag,
                derive=_add_bag_options)


def _add_bag_options(bag: Parser) -> None:
    from admn_ros.replay.export_plan import ExportPlan

    bag.add_argument("sources", nargs="+", type=Path, metavar="BAG", help="one or several rosbag2 recordings")
    bag.add_argument("dataset", type=Path, metavar="DATASET",
                     help="dataset folder to write; the same command continues an interrupted conversion")
    bag.add_argument("--model", required=True, metavar="DIR",
                     help="model folder, or untrained:PRESET, that defines classes, frame and audio window")
    add_plan_options(bag, ExportPlan, {
        "deployment": {"metavar": "FILE"}, "true_class": {"metavar": "CLASS"}, "truth": {"metavar": "SOURCE"},
        "shares": {"metavar": ("TRAIN", "VAL", "TEST")}, "every": {"metavar": "N"}}, skip=("sources",))


def _convert_rgbd(options: argparse.Namespace) -> None:
    from admn_ros.recordings.rgbd_folder import convert_rgbd_folder

    with progress_bar("converting") as progress:
        summary = convert_rgbd_folder(options.folder, options.bag, storage=options.storage, depth=options.depth,
                                      limit=options.limit, progress=progress)
    print(f"{options.bag}: {summary.frames} frames, {summary.seconds:.1f} s, left out {len(summary.skipped)}")
    for number, why in summary.skipped.items():
        print(f"  frame {number}: {why}")


def _convert_bag(options: argparse.Namespace) -> None:
    from admn_ros.inference.model import load_model_config
    from admn_ros.replay.bag_info import input_warnings
    from admn_ros.replay.export import export
    from admn_ros.replay.export_plan import ExportPlan

    config = load_model_config(options.model)
    values = with_deployment(given_values(options, ExportPlan))
    plan = parse_options(ExportPlan, {**values, "sources": list(map(str, options.sources))})
    with progress_bar("converting") as progress:
        found = export(plan, config, options.dataset, lambda done, total: progress(round(done), round(total)))
    print(f"{options.dataset}: " + ", ".join(f"{split} {count}" for split, count in found["frames"].items()))
    for bag in found["bags"]:
        # Notes of an earlier version have no remarks.
        warn(bag["name"], [*bag.get("remarks", ()), *input_warnings(bag, bag.get("topics_similar", {}))])
    for line in (line for bag in found["bags"] for line in _bag_lines(bag)):
        print(f"  {line}")
    lost = any(bag.get("poses_missing") for bag in found["bags"])
    print("  poses of the sensor nodes: " + ("from the model; the deployment file names no frames"
                                             if not plan.deployment.frames else
                                             "from TF, but for those named in the warnings" if lost else "from TF"))


def _bag_lines(bag: Mapping[str, Any]) -> Iterable[str]:
    """Yield lines that summarize one recording."""
    left, name = bag["left_out"], bag["name"]
    yield (f"{name}: {sum(bag['frames'].values())} of {bag['frames_there']} frames, {bag['located']} with a position "
           f"({bag['truth'] or bag['why_no_truth']}), {bag['with_class']} with a class; left out "
           f"{left['in_pauses']} in pauses, {left['without_truth']} without ground truth")
    for key, health in bag["inputs"].items():
        if health["refused"] and not health.get("problem"):
            yield f"{name}: {key} refused {health['refused']} messages, most recently: {health['last_refusal']}"
