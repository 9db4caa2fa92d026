# SPDX-License-Identifier: Apache-2.0
"""Where a recording's sensor nodes stood, by its TF."""

from __future__ import annotations

import math

import numpy as np

from admn_ros.config import NodePose
from admn_ros.errors import InputError
from admn_ros.evaluation.bag_frames import absolute
from admn_ros.evaluation.transforms import Poses, Transforms
from admn_ros.evaluation.truth_sources import read_transforms
from admn_ros.inference.frame_maker import FrameMaker
from admn_ros.recordings.bags import BagReader
from admn_ros.sample import Modality

BASES = ("{node}_base", "{node}_base_link", "{node}/base_link", "{node}")
"""Frames that stand for a sensor node, x ahead and z up (REP-103); the first that is there counts."""
STANDS_STILL_M = 0.02
STANDS_STILL_RAD = 0.02


def sensor_poses(bag: BagReader, maker: FrameMaker, frame_id: str) -> tuple[dict[str, NodePose] | None, str]:
    """Poses of all sensor nodes in the model's frame, or why they are not known.

    A sensor node is where its base frame is; without one, where its camera is, and the camera looks ahead. Tilt is how
    far the RGB or depth camera looks down.

    Raises:
        InputError: the recording is broken.
    """
    tree, poses = read_transforms(bag), {}
    for node in dict.fromkeys(key.node for key in maker.inputs):
        camera = _camera(bag, maker, node)
        base = next((name for name in (b.format(node=node) for b in BASES) if name in tree.frames), None)
        if base is None and camera not in tree.frames:
            wanted = [*(b.format(node=node) for b in BASES), *([camera] if camera else [])]
            return None, f"TF has none of {', '.join(wanted)}"
        try:
            poses[node] = _pose(tree, base, camera if camera in tree.frames else None, frame_id)
        except InputError as error:
            return None, str(error)
    return poses, ""


def _camera(bag: BagReader, maker: FrameMaker, node: str) -> str | None:
    """Frame of the first camera of a sensor node that sent a message."""
    for key, entry in maker.inputs.items():
        topic = absolute(entry.topic)
        if key.node == node and key.modality in (Modality.RGB, Modality.DEPTH) and topic in bag.topics:
            first = next(iter(bag.raw([topic])), None)
            if first is not None:
                frame: str = bag.deserialize(topic, first[2]).header.frame_id
                return frame.lstrip("/")
    return None


def _pose(tree: Transforms, base: str | None, camera: str | None, frame_id: str) -> NodePose:
    looks = None if camera is None else _still(tree, camera, frame_id).rotation[0, :, 2]
    stands = _still(tree, base or camera or "", frame_id)
    ahead = stands.rotation[0, :, 0] if base is not None or looks is None else looks
    x, y, z = stands.translation_m[0].tolist()
    tilt = 0.0 if looks is None else math.atan2(-looks[2], math.hypot(looks[0], looks[1]))
    return NodePose(x_m=x, y_m=y, z_m=z, yaw_rad=math.atan2(ahead[1], ahead[0]), tilt_rad=tilt)


def _still(tree: Transforms, frame: str, frame_id: str) -> Poses:
    """A frame's one pose.

    Raises:
        InputError: it moves, or is not connected.
    """
    stamps_ns = tree.stamps_ns(frame, frame_id)
    found = tree.at(frame, frame_id, stamps_ns if len(stamps_ns) else np.zeros(1, np.int64))
    known = np.isfinite(found.translation_m).all(axis=1)
    found = Poses(found.rotation[known], found.translation_m[known])
    if not len(found.translation_m):
        raise InputError(f"TF {frame}", "no stamp at which all of the way is known", f"a way to {frame_id}")
    moved_m = np.linalg.norm(found.translation_m - found.translation_m[0], axis=1).max()
    cosines = (np.einsum("nij,ij->n", found.rotation, found.rotation[0]) - 1) / 2
    if moved_m > STANDS_STILL_M or np.arccos(np.clip(cosines, -1, 1)).max() > STANDS_STILL_RAD:
        raise InputError(f"TF {frame}", f"moves in {frame_id}", "a sensor node that stands still")
    return found
