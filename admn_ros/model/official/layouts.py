# SPDX-License-Identifier: Apache-2.0
"""Weight names in the checkpoints of the official ADMN release, per dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from admn_ros.model.official.legacy_network import Layout
from admn_ros.model.presets import AVE_CLASSES, GDTM_NODES
from admn_ros.sample import Modality


@dataclass(frozen=True)
class Names:
    """Weight names and facts of an official layout.

    Attributes:
        parts: names of backbone, adapter and controller stem of each modality.
        adapter: names of the adapter's two linear layers.
        nodes: sensor nodes or frames of the paper's model.
        classes: classes of the paper's model.
        notes: notes for the user of an import.
        stretched: whether the release stretches each image and depth image to [0, 1] (GDTM).
    """

    parts: Mapping[Modality, tuple[str, str, str]]
    adapter: tuple[str, str]
    nodes: tuple[str, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    stretched: bool = False


LAYOUTS: Final[dict[Layout, Names]] = {
    "gdtm": Names(
        {Modality.RGB: ("vision", "vision_adapter", "zed_camera_left"),
         Modality.DEPTH: ("depth", "depth_adapter", "realsense_camera_depth")},
        ("fc1", "fc2"), GDTM_NODES, ("car",),
        ("images and depth are stretched to [0, 1] frame by frame, as in training (stretch: true in config.yaml)",
         "OptiTrack's (x, z) in cm is converted to (x, -z) in m; every standard deviation is at least 1 cm",
         "no classification: the only class has probability 1"), stretched=True),
    "mmfi": Names(
        {Modality.RGB: ("vision", "vision_adapter", "rgb"), Modality.DEPTH: ("depth", "depth_adapter", "depth")},
        ("0", "2"), tuple(f"frame{i:02d}" for i in range(1, 16)), tuple(f"A{i:02d}" for i in range(1, 28)),
        ("trained on coloured depth images, not on metric depth", "no localization")),
    "ave": Names(
        {Modality.RGB: ("vision", "vision_adapter", "image"), Modality.AUDIO: ("audio", "audio_adapter", "audio")},
        ("fc1", "fc2"), tuple(f"frame{i}" for i in range(1, 9)), AVE_CLASSES,
        ("trained on Kaldi filter banks; the log-mel spectrogram of this package is similar but not the same",
         "the spectrogram belongs to the first frame",
         "no localization")),
}
UNEQUAL: Final[Mapping[Modality, int]] = {Modality.RGB: 3, Modality.AUDIO: 1}
"""Costs of a layer in the AVE networks of unequal costs (paper Table 4), whose budgets are in audio layers."""
CONSTANT_TOKENS: Final = ("an input without layers or without a reading keeps a constant token in the fusion, as in "
                          "the release, which hardly trained this: layer 0 always ran")
EQUAL_COSTS: Final = ("budgets in layers count every layer as 1; a controller that was trained with unequal costs "
                      "looks the same: import it with --kind admn-ave-unequal")
UNEQUAL_COSTS: Final = "budgets in layers are in audio layers: an image layer costs 3, an audio layer 1"
OFFICIAL_ANCHORS: Final = ("vision.cls_token", "depth_adapter.fc1.weight", "depth_adapter.0.weight",
                           "audio_adapter.fc1.weight")
"""Weights of which every official checkpoint has one: those with images the first, others an adapter."""


def held_parts(names: Names, weights: Iterable[str]) -> Names:
    """Return the names without the modalities that a network of one modality lacks.

    Stage 1 of the release can be trained on one modality alone; with a controller, all of them must be there.
    """
    held = set(weights)
    parts = {m: part for m, part in names.parts.items() if f"{part[0]}.cls_token" in held}
    if not parts or any(name.startswith("controller.") for name in held):
        return names
    alone = tuple(f"{m} only: the network of one modality" for m in parts) if len(parts) == 1 else ()
    return replace(names, parts=parts, notes=(*alone, *names.notes))


def guess_layout(names: Iterable[str]) -> Layout | None:
    """Return the layout of a checkpoint from the names of its weights; None if it is not an official one."""
    held = set(names)
    if not held & set(OFFICIAL_ANCHORS):
        return None
    if any(name.startswith("audio.") for name in held):
        return "ave"
    if held & {"vision_adapter.0.weight", "depth_adapter.0.weight"}:
        return "mmfi"
    # Of images alone, only the head tells the two.
    return "ave" if "output_head.weight" in held and "depth.cls_token" not in held else "gdtm"
