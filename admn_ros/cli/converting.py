# SPDX-License-Identifier: Apache-2.0
"""Commands that turn one kind of recording into another: convert rgbd, convert bag."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from admn_ros.cli.bag_options import add_truth_options, truth_settings
from admn_ros.cli.command import Commands, add_command, progress_bar


def add_commands(commands: Commands) -> None:
    """Convert recordings."""
    convert = commands.add_parser("convert", help="turn a folder into a rosbag2, or rosbag2 recordings into a dataset",
                                  description="Turn recordings of one kind into another.")
    kinds = convert.add_subparsers(dest="kind", required=True, metavar="KIND")
    rgbd = add_command(kinds, "rgbd", "turn an RGB-D image folder (7-Scenes layout) into a rosbag2", _convert_rgbd)
    rgbd.add_argument("folder", type=Path, help="folder with frame-NNNNNN.color.jpg, .depth.png and .pose.txt")
    rgbd.add_argument("bag", type=Path, help="rosbag2 folder to write; must not exist")
    rgbd.add_argument("--storage", default="mcap", choices=("mcap", "sqlite3"))
    rgbd.add_argument("--depth", default="16UC1", choices=("16UC1", "32FC1"), help="encoding (default: 16UC1)")
    rgbd.add_argument("--limit", type=int, help="at most so many frames")

    bag = add_command(kinds, "bag", "turn rosbag2 recordings into a dataset for admn train and admn evaluate",
                      _convert_bag)
    bag.add_argument("bags", nargs="+", type=Path, metavar="BAG", help="one or several rosbag2 recordings")
    bag.add_argument("dataset", type=Path, metavar="DATASET", help="folder to write; the same command continues it")
    bag.add_argument("--model", required=True, metavar="DIR",
                     help="model folder, or untrained:PRESET, that the dataset is for: classes, frame, sound")
    add_truth_options(bag)
    bag.add_argument("--shares", nargs=3, type=float, default=[0.7, 0.15, 0.15], metavar=("TRAIN", "VAL", "TEST"),
                     help="of each bag's time, in this order (default: 0.7 0.15 0.15)")
    bag.add_argument("--pause-s", type=float, default=2.0, help="left out between two splits (default: 2)")
    bag.add_argument("--every", type=int, default=1, metavar="N", help="keep one frame of N (default: all)")
    bag.add_argument("--without-truth", default="drop", choices=("drop", "keep"),
                     help="frames with neither position nor class (default: drop)")


def _convert_rgbd(options: argparse.Namespace) -> None:
    from admn_ros.recordings.rgbd_folder import convert_rgbd_folder

    with progress_bar("converting") as progress:
        summary = convert_rgbd_folder(options.folder, options.bag, storage=options.storage, depth=options.depth,
                                      limit=options.limit, progress=progress)
    print(f"{options.bag}: {summary.frames} frames, {summary.seconds:.1f} s, left out {len(summary.skipped)}")
    for number, why in summary.skipped.items():
        print(f"  frame {number}: {why}")


def _convert_bag(options: argparse.Namespace) -> None:
    from admn_ros.config import ModelConfig, load_config, parse_config
    from admn_ros.model.checkpoint import CONFIG
    from admn_ros.model.presets import preset
    from admn_ros.replay.export import export
    from admn_ros.replay.export_plan import ExportPlan

    kind, _, name = options.model.partition(":")
    config = preset(name) if kind == "untrained" else load_config(ModelConfig, Path(options.model) / CONFIG)
    plan = parse_config(ExportPlan, {
        **truth_settings(options), "sources": [str(b) for b in options.bags], "shares": options.shares,
        "pause_s": options.pause_s, "every": options.every, "without_truth": options.without_truth}, "arguments")
    with progress_bar("converting") as progress:
        found = export(plan, config, options.dataset, lambda done, total: progress(round(done), round(total)))
    print(f"{options.dataset}: " + ", ".join(f"{split} {count}" for split, count in found["frames"].items()))
    for line in (line for bag in found["bags"] for line in _bag_lines(bag)):
        print(f"  {line}")
    print("  poses of the sensor nodes: " + ("from TF" if plan.deployment.frames else
                                             "the model's own; the deployment file names no frames"))


def _bag_lines(bag: Mapping[str, Any]) -> Iterable[str]:
    """What became of one bag."""
    left, name = bag["left_out"], bag["name"]
    yield (f"{name}: {sum(bag['frames'].values())} of {bag['frames_there']} frames, {bag['located']} with a position "
           f"({bag['truth'] or bag['why_no_truth']}), {bag['with_class']} with a class; left out "
           f"{left['in_pauses']} in pauses, {left['without_truth']} without truth")
    if bag["topics_missing"]:
        yield f"{name}: no messages on {', '.join(bag['topics_missing'])}"
    for key, health in bag["inputs"].items():
        if health["refused"]:
            yield f"{name}: {key} refused {health['refused']} messages, the last because of {health['last_refusal']}"
