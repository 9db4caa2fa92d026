# SPDX-License-Identifier: Apache-2.0
"""Moving debug image: a stretch of a recording, within one budget after another."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

from admn_ros.budget.budget import Budget
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.files import write_bytes
from admn_ros.inference.pipeline import Pipeline
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.views.debug_canvas import Picture
from admn_ros.views.debug_frame import NS, debug_views
from admn_ros.views.debug_picture import DebugPicture

FORMATS: dict[str, dict[str, Any]] = {".webp": {"quality": 55, "method": 4}, ".gif": {"optimize": True}}
"""Suffixes of animations, and how Pillow encodes them."""


@dataclass(frozen=True)
class Animation:
    """What an animation shows.

    Attributes:
        budgets: budgets, each in force for an equal part of the recording.
        period_s: time between two pictures, in seconds of the recording and of the animation.
        width: width of the pictures in pixels.
    """

    budgets: Sequence[Budget]
    period_s: float = 0.25
    width: int = 720


def check_animation(path: Path) -> None:
    """Check that a file name has the suffix of an animation, before time is spent on it.

    Raises:
        InputError: it has another suffix.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(str(path), repr(path.suffix), f"a file name that ends in {' or '.join(FORMATS)}")


def draw_animation(bag: Path, path: Path, pipeline: Pipeline, deployment: DeploymentConfig, shown: Animation) -> int:
    """Write an animation of the debug images of a recording; returns the number of pictures.

    The latency is that of the network alone.

    Args:
        bag: recording.
        path: .webp or .gif file to write.
        pipeline: pipeline of the model and the deployment.
        deployment: topics of the recording.
        shown: budgets, period and size.

    Raises:
        InputError: the recording has no frame, or a file cannot be read or written.
    """
    check_animation(path)
    picture, pictures = DebugPicture(pipeline.engine.config, list(deployment.inputs)), list[Image.Image]()
    with BagReader(bag) as reader:
        length_s = (reader.end_ns - reader.start_ns) / NS

        def budget_at(since_s: float) -> Budget:
            part = int(len(shown.budgets) * since_s / length_s)
            return shown.budgets[min(part, len(shown.budgets) - 1)]

        for since_s, view in debug_views(reader, pipeline, budget_at):
            if since_s >= shown.period_s * len(pictures):
                pictures.append(_scaled(picture.draw(view), shown.width))
    if not pictures:
        raise InputError(str(bag), "no frame", "a recording with the topics of the deployment file")
    content, suffix = io.BytesIO(), path.suffix.lower()
    pictures[0].save(content, suffix[1:].upper(), save_all=True, append_images=pictures[1:], loop=0,
                     duration=round(1000 * shown.period_s), **FORMATS[suffix])
    write_bytes(path, content.getvalue())
    return len(pictures)


def _scaled(pixels: Picture, width: int) -> Image.Image:
    height = round(pixels.shape[0] * width / pixels.shape[1])
    return Image.fromarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
