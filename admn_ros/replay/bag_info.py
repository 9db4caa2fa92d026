# SPDX-License-Identifier: Apache-2.0
"""Facts about recordings: names, durations, ground truth, scenes, statistics of the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from admn_ros.config import ModelConfig
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.bag_frames import bag_inputs, similar_names
from admn_ros.replay.bag_truth import BagTruth
from admn_ros.replay.ground_truth import NS, Track
from admn_ros.replay.ground_truth_sources import find_track, recorded_class
from admn_ros.replay.track_times import BagTimes
from admn_ros.sensing.sync.input_health import leader, offset_ns

SCENE_S = 10.0
"""Length of a scene in seconds, where there are fewer than `ENOUGH_BAGS` bags."""
ENOUGH_BAGS = 5
"""Smallest number of bags at which each bag is one scene."""


@dataclass(frozen=True)
class BagInfo:
    """Facts about a bag that are known before its frames are read.

    Attributes:
        path: file or folder of the bag.
        name: name that is distinct among the bags.
        frames: approximate number of frames.
        missing: configured topics that the bag lacks, with topics that may have been meant.
        remarks: what the bag is known to have lost (`BagReader`).
        start_ns: first stamp, nanoseconds.
        length_s: duration in seconds.
        track: ground truth; None if there is none.
        why_no_track: reason why there is no ground truth; empty if there is.
        label: class of the target; -1 if unknown.
    """

    path: Path
    name: str
    frames: int
    missing: dict[str, list[str]]
    remarks: list[str]
    start_ns: int
    length_s: float
    track: Track | None
    why_no_track: str
    label: int


def inspect_bags(sources: Sequence[str], truth: BagTruth, stream: FrameStream, config: ModelConfig,
                 search_s: float = 0.0) -> list[BagInfo]:
    """Collect the facts about bags.

    Args:
        sources: paths of the bags.
        truth: ground truth of the bags.
        stream: frame stream of the deployment.
        config: model that the frames are for.
        search_s: half width of the search for a time offset of the ground truth, in seconds.

    Raises:
        InputError: a bag or its ground truth cannot be used.
    """
    paths = [Path(source) for source in sources]
    found = []
    for path, name in zip(paths, _distinct_names(paths), strict=True):
        with BagReader(path) as bag:
            inputs, missing = bag_inputs(bag, stream)
            track, why = _track(bag, truth, config.frame_id, list(inputs), search_s)
            frames = max(bag.topics[topic].count for topic in inputs)
            similar = {topic: similar_names(bag, stream, topic) for topic in missing}
            found.append(BagInfo(path, name, frames, similar, list(bag.remarks), bag.start_ns,
                                 (bag.end_ns - bag.start_ns) / NS, track, why,
                                 _label(bag, truth.true_class, config.classes)))
    return found


def _track(bag: BagReader, truth: BagTruth, frame_id: str, inputs: Sequence[str],
           search_s: float) -> tuple[Track | None, str]:
    """Return the ground truth of a bag, or the reason why there is none."""
    reach_s = search_s + (truth.max_gap_s if truth.align == "nearest" else 0.0)
    return find_track(bag, truth.truth, frame_id, BagTimes.of(bag, inputs, truth.offset_s, reach_s))


def scene_name(bag: BagInfo, bags: int, stamp_ns: int) -> str:
    """Return the scene of a frame: its bag, or a stretch of `SCENE_S` seconds where there are few bags."""
    if bags >= ENOUGH_BAGS:
        return bag.name
    return f"{bag.name} {int((stamp_ns - bag.start_ns) / NS // SCENE_S) * SCENE_S:+g} s"


def longest_wait_s(deployment: DeploymentConfig) -> float:
    """Return the longest time that a frame can wait for its readings, in seconds."""
    return max(deployment.sync.of(key.modality).wait_s for key in deployment.inputs)


def input_stats(stream: FrameStream) -> dict[str, Any]:
    """Return the statistics of each input after a pass over a bag, as JSON values."""
    stats, health = stream.synchronizer.stats(), stream.health
    problems = stream.watch.summary(stream.sync, {key: s.ignored for key, s in stats.inputs.items()})
    reference = leader({key: h.counts for key, h in health.items()})
    offsets = {key: offset_ns(health, key, reference, stream.sync) for key in stats.inputs}
    inputs = {str(key): {
        "received": s.received, "refused": health[key].refused,
        "last_refusal": health[key].last_error or None, "late": s.late, "duplicates": s.duplicates,
        "ignored": s.ignored, "used": health[key].counts.used,
        "offset_s": None if (offset := offsets[key]) is None else round(offset / NS, 3),
        "problem": problems[key].text if key in problems else None,
        "fresh": s.fresh, "held": s.held, "missing": s.missing} for key, s in stats.inputs.items()}
    for key, camera in stream.cameras.items():
        inputs[str(key)] |= {"calibration": camera.state, "calibration_problem": camera.problem or None}
    return {"resets": stats.resets, "hurried": stats.hurried, "inputs": inputs,
            "poses_missing": {} if stream.node_poses is None else stream.node_poses.missing}


def input_warnings(stats: Mapping[str, Any], missing: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """Yield one line for each problem with an input of a bag, its use, or its calibration, and for each lost pose.

    Args:
        stats: statistics of a pass (`input_stats`); those of an earlier version may lack parts.
        missing: configured topics that the bag lacks, with topics that may have been meant.
    """
    for topic, similar in missing.items():
        yield f"no messages on {topic}" + (f"; it has {', '.join(similar)}" if similar else "")
    for key, read in stats.get("inputs", {}).items():
        if read.get("problem"):
            yield f"{key}: {read['problem']}"
        if read.get("calibration_problem"):
            yield f"{key}: {read['calibration_problem']}"
    for node, why in stats.get("poses_missing", {}).items():
        yield f"{node}: {why}; its pose in the model file is used"


def no_frames(bag: BagInfo, stream: FrameStream) -> InputError:
    """Return the error for a bag that gave no frame."""
    refused = [f"{key}: {h.refused} refused, the last because of {h.last_error}"
               for key, h in stream.health.items() if h.refused]
    return InputError(f"{bag.path}: frames", f"none; {'; '.join(refused) or 'no message was refused'}",
                      "messages that can be used")


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return names of the bags; equal ones are preceded by their folder, or followed by a number."""
    names = [path.name for path in paths]
    longer = [f"{p.parent.name}/{p.name}" if names.count(p.name) > 1 else p.name for p in paths]
    return [n if longer.count(n) == 1 else f"{n} ({k})" for k, n in enumerate(longer)]


def _label(bag: BagReader, true_class: str | None, classes: Sequence[str]) -> int:
    """Return the index of the target's class: as configured, else as recorded by the simulator; -1 if unknown."""
    if true_class is not None and true_class not in classes:
        raise InputError("true class", true_class, ", ".join(classes))
    name = true_class or recorded_class(bag)
    return classes.index(name) if name in classes else -1
