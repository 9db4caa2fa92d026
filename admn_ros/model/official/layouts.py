# SPDX-License-Identifier: Apache-2.0
"""Names in the checkpoints of the official ADMN release, per dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from admn_ros.model.official.legacy_network import Layout
from admn_ros.model.presets import AVE_CLASSES, GDTM_NODES
from admn_ros.sample import Modality


@dataclass(frozen=True)
class Names:
    """What an official layout calls its parts.

    parts: backbone, adapter and controller's stem of each modality.
    adapter: its two linear layers.
    nodes, classes: of the paper's model.
    notes: what an importer should know.
    """

    parts: Mapping[Modality, tuple[str, str, str]]
    adapter: tuple[str, str]
    nodes: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


LAYOUTS: Final[dict[Layout, Names]] = {
    "gdtm": Names(
        {Modality.RGB: ("vision", "vision_adapter", "zed_camera_left"),
         Modality.DEPTH: ("depth", "depth_adapter", "realsense_camera_depth")},
        ("fc1", "fc2"), GDTM_NODES, ("car",),
        ("it was trained on pictures and depth stretched to [0, 1] frame by frame; our depth input is metric",
         "OptiTrack's (x, z) in cm is given out as (x, -z) in m; every standard deviation is at least 1 cm",
         "it does not classify: the one class has probability 1")),
    "mmfi": Names(
        {Modality.RGB: ("vision", "vision_adapter", "rgb"), Modality.DEPTH: ("depth", "depth_adapter", "depth")},
        ("0", "2"), tuple(f"frame{i:02d}" for i in range(1, 16)), tuple(f"A{i:02d}" for i in range(1, 28)),
        ("it was trained on coloured depth pictures, not on metric depth", "it does not localize")),
    "ave": Names(
        {Modality.RGB: ("vision", "vision_adapter", "image"), Modality.AUDIO: ("audio", "audio_adapter", "audio")},
        ("fc1", "fc2"), tuple(f"frame{i}" for i in range(1, 9)), AVE_CLASSES,
        ("it was trained on Kaldi filter banks; our log-mel spectrogram is close and not the same",
         "the spectrogram stands at the first frame",
         "it does not localize")),
}


def guess_layout(names: Iterable[str]) -> Layout | None:
    """Whose checkpoint this is, by the names in it; None if it is not of the official release."""
    held = set(names)
    if "vision.cls_token" not in held:
        return None
    if any(name.startswith("audio.") for name in held):
        return "ave"
    return "mmfi" if "vision_adapter.0.weight" in held else "gdtm"
