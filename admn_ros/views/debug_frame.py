# SPDX-License-Identifier: Apache-2.0
"""Debug image of one frame of a recording, made by the pipeline of the node, without ROS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from admn_ros.budget.budget import Budget
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.inference.pipeline import Pipeline
from admn_ros.inference.target import without_absent_target
from admn_ros.inference.tracking import Tracker, TrackerConfig
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.bag_frames import bag_frames
from admn_ros.views.debug_picture import DebugPicture, DebugView, History
from admn_ros.views.picture_file import check_png, write_png

NS = 1_000_000_000
HISTORY_S = 6.0
"""Time before the instant that is also processed, for the history, the trail and the track."""


def debug_views(reader: BagReader, pipeline: Pipeline, budget_at: Callable[[float], Budget],
                from_s: float = 0.0) -> Iterator[tuple[float, DebugView]]:
    """Process a recording, and yield each frame's time since its start in seconds, and what its debug image shows.

    The latency is that of the network alone.

    Args:
        reader: recording.
        pipeline: pipeline of the model and the deployment.
        budget_at: budget of a frame by its time since the start in seconds.
        from_s: time since the start before which frames are left out.
    """
    history, tracker = History(), Tracker(TrackerConfig(), len(pipeline.engine.config.localization.min_m))
    for frame, now_s in bag_frames(reader, pipeline.frames, 0.0):
        since_s = now_s - reader.start_ns / NS
        if since_s < from_s:
            continue
        estimate = without_absent_target(pipeline.process(frame, budget_at(since_s)))
        _, track = tracker.step(frame.stamp_ns, estimate.mean_m, estimate.covariance_m2)
        history.note(estimate)
        yield since_s, DebugView(frame, estimate, estimate.duration_ms, 0, track, history.frames())


def draw_debug_frame(bag: Path, png: Path, pipeline: Pipeline, deployment: DeploymentConfig, budget: Budget,
                     at_s: float | None = None) -> DebugView:
    """Write the debug image of the first frame at or after an instant, and return what it shows.

    Args:
        bag: recording.
        png: PNG file to write.
        pipeline: pipeline of the model and the deployment.
        deployment: topics of the recording.
        budget: budget of every frame.
        at_s: seconds since the start of the recording; None for its middle.

    Raises:
        InputError: the recording has no frame at that time, or a file cannot be read or written.
    """
    check_png(png)
    picture = DebugPicture(pipeline.engine.config, list(deployment.inputs))
    with BagReader(bag) as reader:
        length_s = (reader.end_ns - reader.start_ns) / NS
        at = length_s / 2 if at_s is None else at_s
        if not 0 <= at <= length_s:
            raise InputError("--at", at, f"[0, {length_s:.3g}]")
        for since_s, view in debug_views(reader, pipeline, lambda _: budget, at - HISTORY_S):
            if since_s >= at:
                pixels = picture.draw(view)
                for key in deployment.inputs:  # noisy: clearing the lowest bits halves the size of the file
                    thumbnail = picture.thumbnail(key).of(pixels)
                    thumbnail[:] = thumbnail & 0xF0 | 0x08
                write_png(pixels, png)
                return view
    raise InputError(str(bag), f"no frame from {at:.2f} s on", "an instant with messages after it")
