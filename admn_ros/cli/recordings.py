# SPDX-License-Identifier: Apache-2.0
"""Commands that simulate and draw recordings: simulate, sheet."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from admn_ros.cli.command import (
    LARGEST_SEED,
    Commands,
    add_command,
    add_workers,
    number,
    progress_bar,
    warn_of_losses,
    whole,
)
from admn_ros.errors import ConfigError


def add_commands(commands: Commands) -> None:
    """Add the commands that simulate and draw recordings."""
    simulate = add_command(commands, "simulate",
                           "simulate the GDTM room, or clips: write a dataset, a rosbag2 or a picture", _simulate)
    simulate.add_argument("--frames", type=whole(1, 10**6), default=300, metavar="N",
                          help="number of multimodal frames; a rosbag2 has 15 per second (default: 300)")
    simulate.add_argument("--seed", type=whole(0, LARGEST_SEED), default=7, metavar="N",
                          help="seed of room, drive and noise (default: 7)")
    simulate.add_argument("--dataset", type=Path, metavar="DIR",
                          help="dataset folder to write, in splits and shards; an interrupted run is continued")
    simulate.add_argument("--activities", type=Path, metavar="DIR",
                          help="dataset folder to write: clips of 27 activities, RGB and depth, in the layout of MM-Fi")
    simulate.add_argument("--events", type=Path, metavar="DIR",
                          help="dataset folder to write: clips of 28 events, RGB and sound, in the layout of AVE")
    simulate.add_argument("--bag", type=Path, metavar="BAG", help="rosbag2 folder to write; must not exist")
    simulate.add_argument("--sheet", type=Path, metavar="PNG", help="picture of all sensors at one instant to write")
    simulate.add_argument("--target", choices=("red_car", "green_car", "none"),
                          help="rosbag2: class of the target (default: drawn by seed)")
    simulate.add_argument("--viewpoints", choices=("default", "train", "held_out", "moved"),
                          help="poses of the sensor nodes (rosbag2: default; dataset: a different one for each split)")
    simulate.add_argument("--drive", default="laps", choices=("laps", "random"),
                          help="rosbag2: motion of the target (default: laps)")
    simulate.add_argument("--no-events", action="store_true",
                          help="rosbag2: record without darkness, saturation and silent topics")
    simulate.add_argument("--compact", action="store_true",
                          help="rosbag2: compress images, round radar and sound; a third of the size or less")
    simulate.add_argument("--quality", choices=("real", "medium", "small"),
                          help="image resolution (default: real for a rosbag2, small for a dataset)")
    simulate.add_argument("--nodes", type=whole(1, 3), default=3, metavar="N",
                          help="number of sensor nodes (default: 3)")
    simulate.add_argument("--audio-s", type=number(0.05, 4), default=0.512, metavar="X",
                          help="dataset: audio window in seconds (default: 0.512)")
    simulate.add_argument("--room-frames", type=whole(1, 10**6), default=100, metavar="N",
                          help="dataset: largest number of samples per room; a room has one car (default: 100)")
    _add_difficulty(simulate)
    simulate.add_argument("--difficult-rooms", type=number(0, 1), default=1.0, metavar="SHARE",
                          help="dataset: share of rooms that have these difficulties, drawn for each room (default: 1)")
    simulate.add_argument("--masks", action="store_true",
                          help="dataset: store what each pixel of the RGB images shows, for segmentation")
    add_workers(simulate, "datasets: number of processes (default: one per core)")

    sheet = add_command(commands, "sheet", "draw all sensors of a recording at one instant", _sheet)
    sheet.add_argument("bag", type=Path, help="rosbag2 folder, .mcap or .db3 file")
    sheet.add_argument("png", type=Path, help="PNG file to write")
    sheet.add_argument("--at", type=number(0), metavar="SECONDS",
                       help="time since the start of the recording (default: its middle)")


def _add_difficulty(simulate: argparse.ArgumentParser) -> None:
    from admn_ros.simulation.difficulty import MOST_PEOPLE, MOST_SENSOR_NOISE, PLAIN

    simulate.add_argument("--second-car", type=number(0, 1), default=PLAIN.second_car, metavar="SHARE",
                          help="share of rooms in which a blue car drives that is not the target (default: "
                               f"{PLAIN.second_car:g})")
    simulate.add_argument("--people", type=whole(0, MOST_PEOPLE), default=PLAIN.people, metavar="N",
                          help=f"largest number of people who walk through a room (default: {PLAIN.people})")
    simulate.add_argument("--sensor-noise", type=number(0, MOST_SENSOR_NOISE), default=PLAIN.sensor_noise,
                          metavar="X", help="noise of all sensors: 0 for good ones in good light, 1 for typical ones "
                                            f"indoors, with JPEG images (default: {PLAIN.sensor_noise:g})")


def _simulate(options: argparse.Namespace) -> None:
    outputs = (options.dataset, options.activities, options.events, options.bag, options.sheet)
    if all(output is None for output in outputs):
        raise ConfigError.missing("output", "--dataset DIR, --activities DIR, --events DIR, --bag BAG, --sheet PNG, or "
                                  "several")
    if options.masks and options.dataset is None:
        raise ConfigError.missing("dataset", "--dataset DIR with --masks, which only datasets store")
    if options.dataset is not None:
        _simulate_dataset(options)
    _simulate_clips(options)
    if options.bag is not None:
        _simulate_bag(options, options.bag)
    elif options.sheet is not None:
        options.no_events = True   # the picture shows one instant with all sensors
        with tempfile.TemporaryDirectory() as folder:
            _simulate_bag(options, Path(folder) / f"simulated_seed_{options.seed}")


def _simulate_dataset(options: argparse.Namespace) -> None:
    from admn_ros.simulation.dataset import DatasetPlan, make_dataset
    from admn_ros.simulation.difficulty import Difficulty

    plan = DatasetPlan(options.frames, options.seed, options.quality or "small", options.nodes, options.audio_s,
                options.room_frames, Difficulty(options.second_car, options.people, options.sensor_noise),
                options.viewpoints, options.difficult_rooms, options.masks)
    started_s = time.monotonic()
    with progress_bar("samples") as progress:
        counts = make_dataset(options.dataset, plan, options.jobs or os.cpu_count() or 1, progress, options.scheduler)
    took_s = time.monotonic() - started_s
    print(f"{options.dataset}: " + ", ".join(f"{split} {count}" for split, count in counts.items())
          + f"; {took_s:.0f} s, {plan.frames / took_s:.1f} multimodal samples per second")


def _simulate_clips(options: argparse.Namespace) -> None:
    from admn_ros.simulation.clips.make import make_activities, make_events

    for folder, make in ((options.activities, make_activities), (options.events, make_events)):
        if folder is not None:
            started_s = time.monotonic()
            with progress_bar("clips") as progress:
                count = make(folder, options.seed, options.jobs or os.cpu_count() or 1, progress,
                             scheduler=options.scheduler)
            print(f"{folder}: {count} clips; {time.monotonic() - started_s:.0f} s")


def _simulate_bag(options: argparse.Namespace, bag: Path) -> None:
    from admn_ros.simulation.difficulty import Difficulty
    from admn_ros.simulation.recording import record
    from admn_ros.simulation.world import World
    from admn_ros.views.contact_sheet import draw_sheet

    difficulty = Difficulty(options.second_car, options.people, options.sensor_noise)
    started_s = time.monotonic()
    with progress_bar("recording") as progress, World(
            options.seed, target=options.target, viewpoints=options.viewpoints or "default", drive=options.drive,
            nodes=options.nodes, quality=options.quality or "real", difficulty=difficulty) as world:
        result = record(bag, world, max(0.5, options.frames / 15), events=not options.no_events,
                        compact=options.compact, progress=progress)
    took_s = time.monotonic() - started_s
    summary = result.describe() if options.bag else result.describe().replace(str(bag), "temporary recording")
    print(f"{summary}\n  {took_s:.0f} s, {options.frames / took_s:.1f} multimodal frames per second")
    if options.sheet is not None:
        draw_sheet(bag, options.sheet)
        print(options.sheet)


def _sheet(options: argparse.Namespace) -> None:
    from admn_ros.views.contact_sheet import draw_sheet

    warn_of_losses(options.bag)
    draw_sheet(options.bag, options.png, options.at)
    print(options.png)
