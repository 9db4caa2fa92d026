# SPDX-License-Identifier: Apache-2.0
"""Recordings to a dataset that `admn train` and `admn evaluate` read, by the node's own synchronizer.

A frame of the dataset is a frame of the node: the same readings, fresh or held, at the same stamp. A bag that is
finished is noted in `bags/`; `dataset.json` is written last, and without it no reader opens the folder.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.config import ModelConfig
from admn_ros.errors import InputError
from admn_ros.files import read_json, write_text
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings import shards
from admn_ros.recordings.bags import BagReader
from admn_ros.replay.bag_facts import (
    class_index,
    distinct_names,
    input_stats,
    longest_wait_s,
    no_frames,
    scene_name,
)
from admn_ros.replay.bag_frames import bag_frames, bag_inputs
from admn_ros.replay.export_plan import SPLITS, Blocks, ExportPlan
from admn_ros.replay.export_shards import Collector
from admn_ros.replay.ground_truth import NS, Track
from admn_ros.replay.ground_truth_sources import find_track
from admn_ros.sample import SensorFrame

BAGS = "bags"
"""Folder of what was finished: for each bag its shards and what is to be said of it."""

Progress = Callable[[float, float], None]
"""Called with the seconds of recording done, and in all."""


@dataclass(frozen=True)
class _Bag:
    """What is known of a bag before its frames are."""

    path: Path
    name: str
    track: Track | None
    why_no_truth: str
    label: int
    topics_missing: list[str]
    start_ns: int
    length_s: float
    blocks: Blocks


@dataclass
class _Counts:
    """Frames of a bag: all of them, those that were left out, and what is true of the others."""

    there: int = 0
    in_pauses: int = 0
    without_truth: int = 0
    located: int = 0
    with_class: int = 0


def export(plan: ExportPlan, config: ModelConfig, folder: Path,
           progress: Progress = lambda done, total: None) -> dict[str, Any]:
    """Write the dataset; returns frames of each split, and for each bag what became of it.

    A run that was interrupted is continued by the same call: bags that are finished are not read again.

    Args:
        plan: bags, truth, splits.
        config: the model that the dataset is for: its classes, its frame, its sound.
        folder: new or empty, or one begun with the same plan.
        progress: told how far it is.

    Raises:
        InputError: a bag or its truth cannot be used, a split stays empty, or the folder cannot be written.
        ConfigError: the model does not know an input of the deployment.
    """
    stream = FrameStream(config, plan.deployment)
    identity = plan.identity(config)
    paths = [Path(source) for source in plan.sources]
    bags = []
    for path, name in zip(paths, distinct_names(paths), strict=True):
        with BagReader(path) as reader:
            bags.append(_look_at(plan, config, stream, reader, name))
    shards.begin(folder, identity)
    total_s, done_s, said = sum(bag.length_s for bag in bags), 0.0, []
    for number, bag in enumerate(bags):
        note = folder / BAGS / f"{number:05d}.json"
        if not note.is_file():
            found = _write_bag(plan, stream, bag, len(bags), number, folder, _Part(progress, done_s, total_s))
            note.parent.mkdir(exist_ok=True)
            write_text(note, json.dumps(found, indent=1, allow_nan=False) + "\n")
        said.append(read_json(note))
        done_s += bag.length_s
        progress(done_s, total_s)
    splits = {split: [name for one in said for name in one["shards"].get(split, [])]
              for split, share in zip(SPLITS, plan.shares, strict=True) if share > 0}
    frames = {split: sum(one["frames"].get(split, 0) for one in said) for split in splits}
    _check_splits(folder, frames, said)
    shards.finish(folder, splits)
    return {"frames": frames, "bags": said}


@dataclass(frozen=True)
class _Part:
    """Progress of one bag among several."""

    progress: Progress
    before_s: float
    total_s: float

    def __call__(self, done_s: float) -> None:
        self.progress(self.before_s + done_s, self.total_s)


def _look_at(plan: ExportPlan, config: ModelConfig, stream: FrameStream, bag: BagReader, name: str) -> _Bag:
    """Refuse what cannot be used before anything is written."""
    _, missing = bag_inputs(bag, stream)
    track, why = find_track(bag, plan.truth, config.frame_id)
    length_s = (bag.end_ns - bag.start_ns) / NS
    return _Bag(bag.path, name, track, why, class_index(bag, plan.true_class, config.classes), missing, bag.start_ns,
                length_s, Blocks(plan, length_s, str(bag.path)))


def _write_bag(plan: ExportPlan, stream: FrameStream, about: _Bag, bags: int, number: int, folder: Path,
               told: Callable[[float], None]) -> dict[str, Any]:
    """One bag's frames to shards; returns what is to be said of it."""
    collector = Collector(folder, f"{number:03d}-{re.sub('[^A-Za-z0-9_.-]+', '_', about.name)}", about.start_ns,
                          stream)
    counts = _Counts()
    with BagReader(about.path) as bag:
        inputs, _ = bag_inputs(bag, stream)
        for frame, now_s in bag_frames(bag, stream, inputs, (), _not_heard, longest_wait_s(plan.deployment)):
            time_s = max(now_s - about.start_ns / NS, 0.0)
            told(min(time_s, about.length_s))
            if counts.there % plan.every == 0:
                stretch = scene_name(about.name, bags, frame.stamp_ns, about.start_ns)
                _take(plan, about, collector, counts, frame, stretch, about.blocks.split(time_s))
            counts.there += 1
        if not counts.there:
            raise no_frames(bag, stream)
    collector.flush()
    return {"name": about.name, "frames_there": counts.there, "frames": collector.frames, "located": counts.located,
            "with_class": counts.with_class,
            "left_out": {"in_pauses": counts.in_pauses, "without_truth": counts.without_truth},
            "truth": None if about.track is None else about.track.origin, "why_no_truth": about.why_no_truth or None,
            "topics_missing": about.topics_missing, **input_stats(stream), "shards": collector.written}


def _take(plan: ExportPlan, about: _Bag, collector: Collector, counts: _Counts, frame: SensorFrame, stretch: str,
          split: str | None) -> None:
    if split is None:
        counts.in_pauses += 1
        return
    position_m = np.full(3, np.nan)
    if about.track is not None:
        stamp = np.array([frame.stamp_ns], np.int64)
        position_m = about.track.at(stamp, plan.align, plan.max_gap_s, plan.offset_s)[0]
    located = bool(np.isfinite(position_m).all())
    if not located and about.label < 0 and plan.without_truth == "drop":
        counts.without_truth += 1
        return
    counts.located += located
    counts.with_class += about.label >= 0
    collector.add(frame, split, stretch, position_m, about.label)


def _not_heard(topic: str, message: Any, now_s: float) -> None:
    """There are no budgets in a dataset."""


def _check_splits(folder: Path, frames: dict[str, int], said: list[dict[str, Any]]) -> None:
    """Refuse a dataset with an empty split, and leave nothing of it: the same bags would give the same again."""
    empty = [split for split, count in frames.items() if not count]
    if not empty:
        return
    shutil.rmtree(folder)
    dropped = sum(one["left_out"]["without_truth"] for one in said)
    why = next((one["why_no_truth"] for one in said if one["why_no_truth"]), None)
    raise InputError(
        f"split {empty[0]}", f"no frames; {dropped} had no truth{f' ({why})' if why else ''}",
        "frames with a true position or class (truth, true_class), or without_truth keep; longer recordings or a "
        "shorter pause_s; or a share of 0")
