# SPDX-License-Identifier: Apache-2.0
"""Export of recordings to a dataset for `admn train` and `admn evaluate`, by the node's own synchronizer.

A frame of the dataset is a frame of the node: the same readings, fresh or held, at the same stamp. Each finished bag
has a file in `bags/`. `dataset.json` is written last; without it no reader opens the folder.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.config import ModelConfig
from admn_ros.errors import AdmnError, InputError
from admn_ros.files import read_json, write_json
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings import shards
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.bag_frames import TimedFrame, bag_frames
from admn_ros.replay.bag_info import BagInfo, input_stats, inspect_bags, longest_wait_s, no_frames, scene_name
from admn_ros.replay.export_plan import SPLITS, Blocks, ExportPlan
from admn_ros.replay.export_shards import Collector
from admn_ros.replay.ground_truth import NS
from admn_ros.sample import SensorFrame

BAGS = "bags"
"""Folder of the files about finished bags: shards, frames, statistics."""

OnProgress = Callable[[float, float], None]
"""Called with the seconds of recording that are done, and the total seconds."""


@dataclass
class _Counts:
    """Frames of a bag: all of them, the excluded ones, and the included ones with ground truth."""

    read: int = 0
    in_pauses: int = 0
    without_truth: int = 0
    located: int = 0
    with_class: int = 0


def export(plan: ExportPlan, config: ModelConfig, folder: Path,
           on_progress: OnProgress = lambda done, total: None) -> dict[str, Any]:
    """Write the dataset. A second call with the same arguments resumes an interrupted export.

    Args:
        plan: bags, ground truth, splits.
        config: model that the dataset is for: its classes, frame and audio rate.
        folder: new or empty folder, or one of an interrupted export of the same plan.
        on_progress: callback for the progress.

    Returns:
        Number of frames of each split, and statistics of each bag.

    Raises:
        InputError: a bag or its ground truth cannot be used, a split stays empty, or the folder cannot be written.
        ConfigError: the model lacks an input of the deployment.
    """
    stream, identity = FrameStream(config, plan.deployment), plan.identity(config)
    bags = inspect_bags(plan.sources, plan, stream, config)
    blocks = [Blocks(plan, bag.length_s, str(bag.path)) for bag in bags]
    shards.begin(folder, identity)
    total_s, done_s, notes = sum(bag.length_s for bag in bags), 0.0, []
    for number, bag in enumerate(bags):
        note = folder / BAGS / f"{number:05d}.json"
        if not note.is_file():
            job = _BagExport(plan, stream, bag, len(bags), blocks[number], f"{number:03d}", folder)
            written = job.run(_later(on_progress, done_s, total_s))
            note.parent.mkdir(exist_ok=True)
            write_json(note, written)
        notes.append(read_json(note))
        done_s += bag.length_s
        on_progress(done_s, total_s)
    splits = {split: [name for note in notes for name in note["shards"].get(split, [])]
              for split, share in zip(SPLITS, plan.shares, strict=True) if share > 0}
    frames = {split: sum(note["frames"].get(split, 0) for note in notes) for split in splits}
    _check_splits(folder, frames, notes)
    shards.finish(folder, splits)
    return {"frames": frames, "bags": notes}


def _later(on_progress: OnProgress, before_s: float, total_s: float) -> Callable[[float], None]:
    """Return a callback for the progress of one bag, after `before_s` seconds of other bags."""
    return lambda seconds: on_progress(before_s + seconds, total_s)


class _BagExport:
    """Export of one bag."""

    def __init__(self, plan: ExportPlan, stream: FrameStream, bag: BagInfo, bags: int, blocks: Blocks, prefix: str,
                 folder: Path) -> None:
        self._plan, self._stream, self._bag, self._bags, self._blocks = plan, stream, bag, bags, blocks
        name = f"{prefix}-{re.sub('[^A-Za-z0-9_.-]+', '_', bag.name)}"
        self._folder = folder
        self._collector, self._counts = Collector(folder, name, bag.start_ns, stream), _Counts()

    def run(self, on_seconds: Callable[[float], None]) -> dict[str, Any]:
        """Write the shards; return statistics as JSON values."""
        bag, counts, collector = self._bag, self._counts, self._collector
        for frame, now_s in self._frames():
            time_s = max(now_s - bag.start_ns / NS, 0.0)
            on_seconds(min(time_s, bag.length_s))
            if counts.read % self._plan.every == 0:
                self._take(frame, self._blocks.split(time_s))
            counts.read += 1
        collector.flush()
        return {"name": bag.name, "frames_there": counts.read, "frames": collector.frames,
                "located": counts.located, "with_class": counts.with_class,
                "left_out": {"in_pauses": counts.in_pauses, "without_truth": counts.without_truth},
                "truth": None if bag.track is None else bag.track.origin, "why_no_truth": bag.why_no_track or None,
                "remarks": bag.remarks, "topics_missing": list(bag.missing), "topics_similar": bag.missing,
                **input_stats(self._stream), "shards": collector.written}

    def _frames(self) -> Iterator[TimedFrame]:
        """Yield the frames of the bag. If it cannot be used, delete the dataset, which could never be finished."""
        found = False
        try:
            with BagReader(self._bag.path) as reader:
                for timed in bag_frames(reader, self._stream, longest_wait_s(self._plan.deployment)):
                    found = True
                    yield timed
            if not found:
                raise no_frames(self._bag, self._stream)
        except AdmnError:   # of reading; errors of writing are raised outside of this generator
            shutil.rmtree(self._folder)
            raise

    def _take(self, frame: SensorFrame, split: str | None) -> None:
        plan, bag, counts = self._plan, self._bag, self._counts
        if split is None:
            counts.in_pauses += 1
            return
        position_m = np.full(3, np.nan)
        if bag.track is not None:
            stamp = np.array([frame.stamp_ns], np.int64)
            position_m = bag.track.at(stamp, plan.align, plan.max_gap_s, plan.offset_s)[0]
        located = bool(np.isfinite(position_m).all())
        if not located and bag.label < 0 and plan.without_truth == "drop":
            counts.without_truth += 1
            return
        counts.located += located
        counts.with_class += bag.label >= 0
        self._collector.add(frame, split, scene_name(bag, self._bags, frame.stamp_ns), position_m, bag.label)


def _check_splits(folder: Path, frames: dict[str, int], notes: list[dict[str, Any]]) -> None:
    """Raise an error for an empty split, and delete the dataset: the same bags would give the same result again."""
    empty = [split for split, count in frames.items() if not count]
    if not empty:
        return
    shutil.rmtree(folder)
    dropped = sum(note["left_out"]["without_truth"] for note in notes)
    why = next((note["why_no_truth"] for note in notes if note["why_no_truth"]), None)
    raise InputError(
        f"split {empty[0]}", f"no frames; {dropped} had no truth{f' ({why})' if why else ''}",
        "frames with a true position or class (--truth, --true-class), or --without-truth keep; longer recordings or a "
        "shorter --pause-s; or a share of 0 (--shares)")
