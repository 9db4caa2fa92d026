# SPDX-License-Identifier: Apache-2.0
"""What is to be known of recordings beside their frames: names, stretches, classes, what became of each input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.recordings.bags import BagReader
from admn_ros.replay.ground_truth import NS
from admn_ros.replay.ground_truth_sources import noted_class

SCENE_S = 10.0
ENOUGH_BAGS = 5
"""From so many bags on each counts as one scene; of fewer, stretches of `SCENE_S` seconds do."""


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Names of the bags; equal ones with their folder before them, or with a number."""
    names = [path.name for path in paths]
    longer = [f"{p.parent.name}/{p.name}" if names.count(p.name) > 1 else p.name for p in paths]
    return [n if longer.count(n) == 1 else f"{n} ({k})" for k, n in enumerate(longer)]


def scene_name(bag: str, bags: int, stamp_ns: int, start_ns: int) -> str:
    """The scene that a frame is of: its bag, or a stretch of it where there are few bags."""
    if bags >= ENOUGH_BAGS:
        return bag
    return f"{bag} {int((stamp_ns - start_ns) / NS // SCENE_S) * SCENE_S:+g} s"


def class_index(bag: BagReader, true_class: str | None, classes: Sequence[str]) -> int:
    """Number of the class of the target: as it is said, else as the simulator noted it; -1 when it is not known.

    Raises:
        InputError: the one that is said is none of the model's.
    """
    name = true_class or noted_class(bag)
    if true_class is not None and true_class not in classes:
        raise InputError("true class", true_class, ", ".join(classes))
    return classes.index(name) if name in classes else -1


def longest_wait_s(deployment: DeploymentConfig) -> float:
    """How long a frame can wait for its readings."""
    return max(deployment.sync.of(key.modality).wait_s for key in deployment.inputs)


def input_stats(stream: FrameStream) -> dict[str, Any]:
    """What became of the messages of each input, after a pass over a bag."""
    stats = stream.synchronizer.stats()
    inputs = {str(key): {
        "received": s.received, "refused": stream.health[key].refused,
        "last_refusal": stream.health[key].last_error or None, "late": s.late, "duplicates": s.duplicates,
        "ignored": s.ignored,
        "fresh": s.fresh, "held": s.held, "missing": s.missing} for key, s in stats.inputs.items()}
    for key, camera in stream.cameras.items():
        inputs[str(key)] |= {"calibration": camera.state, "calibration_problem": camera.problem or None}
    return {"resets": stats.resets, "hurried": stats.hurried, "inputs": inputs}


def no_frames(bag: BagReader, stream: FrameStream) -> InputError:
    """What to say of a bag that gave no frame."""
    said = [f"{key}: {h.refused} refused, the last because of {h.last_error}"
            for key, h in stream.health.items() if h.refused]
    return InputError(f"{bag.path}: frames", f"none; {'; '.join(said) or 'no message was refused'}",
                      "messages that can be used")
