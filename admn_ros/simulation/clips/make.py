# SPDX-License-Identifier: Apache-2.0
"""Makes whole datasets of simulated clips, in parallel and resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.simulation.clips.activity_clips import activity_clips, write_activity
from admn_ros.simulation.clips.event_clips import EventClip, event_clips, write_annotations, write_event
from admn_ros.worker_process import worker_pool

Progress = Callable[[int, int], None]
_Task = tuple[Callable[..., None], tuple[object, ...]]


def make_activities(folder: Path, seed: int, jobs: int = 1, progress: Progress | None = None,
                    clips: Sequence[tuple[int, str]] | None = None, scheduler: str | None = None) -> int:
    """Write a dataset of activities in the layout of MM-Fi, or continue one that was interrupted.

    Args:
        folder: new or empty folder, or one begun with the same arguments.
        seed: seed of people, places, motions and noise.
        jobs: number of processes, each with its own renderer.
        progress: called with (clips done, clips in all) after each clip.
        clips: person and activity of each clip; None for all.
        scheduler: address of the scheduler of a Dask cluster, whose workers take the place of the processes.

    Returns:
        Number of clips.

    Raises:
        InputError: the folder has other data or cannot be used, or no renderer is installed.
    """
    shards.begin(folder, {"format": "mmfi", "simulated": "activities", "seed": seed})
    return _run([(write_activity, (folder, seed, *clip)) for clip in clips or activity_clips()], jobs, progress,
                scheduler)


def make_events(folder: Path, seed: int, jobs: int = 1, progress: Progress | None = None,
                clips: Sequence[EventClip] | None = None, scheduler: str | None = None) -> int:
    """Write a dataset of audio-visual events in the layout of AVE, or continue one that was interrupted.

    Args:
        folder: see `make_activities`.
        seed: seed of things, sounds, places and noise.
        jobs: number of processes.
        progress: called with (clips done, clips in all) after each clip.
        clips: clips; None for all.
        scheduler: see `make_activities`.

    Returns:
        Number of clips.

    Raises:
        InputError: see `make_activities`.
    """
    shards.begin(folder, {"format": "ave", "simulated": "events", "seed": seed})
    clips = list(clips or event_clips(seed))
    write_annotations(folder, clips)
    return _run([(write_event, (folder, seed, number, clip)) for number, clip in enumerate(clips)], jobs, progress,
                scheduler)


def _run(tasks: Sequence[_Task], jobs: int, progress: Progress | None, scheduler: str | None) -> int:
    if jobs < 1:
        raise InputError("jobs", jobs, "1 or more")
    report = progress or (lambda done, total: None)
    report(0, len(tasks))
    if scheduler is None and jobs == 1:
        for done, (function, arguments) in enumerate(tasks, start=1):
            function(*arguments)
            report(done, len(tasks))
        return len(tasks)
    with worker_pool(jobs, scheduler=scheduler) as pool:
        for done, future in enumerate(as_completed([pool.submit(f, *a) for f, a in tasks]), start=1):
            future.result()
            report(done, len(tasks))
    return len(tasks)
