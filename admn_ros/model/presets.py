# SPDX-License-Identifier: Apache-2.0
"""Named model configurations: those of the paper (Table 13), and small ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from admn_ros.config import (
    AudioInput,
    BackboneConfig,
    DepthInput,
    FusionConfig,
    InputConfig,
    LocalizationConfig,
    ModalityConfig,
    ModelConfig,
    NodePose,
    QoiConfig,
    RadarInput,
    RgbInput,
)
from admn_ros.errors import InputError
from admn_ros.sample import Modality

GDTM_NODES = ("node1", "node2", "node3")
CAR_CLASSES = ("red_car", "green_car", "none")
ROOM_POSES = {
    "node1": NodePose(x_m=0.254, y_m=-2.070, z_m=0.76, yaw_rad=1.780, tilt_rad=0.262),
    "node2": NodePose(x_m=1.790, y_m=1.349, z_m=0.72, yaw_rad=-2.618, tilt_rad=0.236),
    "node3": NodePose(x_m=-1.787, y_m=0.722, z_m=0.80, yaw_rad=-0.279, tilt_rad=0.290),
}
"""Default poses of the sensor nodes in the simulated room."""
ROOM_MICROPHONES_M = ((0.0228, 0.0228), (-0.0228, 0.0228), (-0.0228, -0.0228), (0.0228, -0.0228))
"""Microphone positions in the simulated room: a square, as on GDTM's nodes."""
AVE_CLASSES = (
    "church_bell", "male_speech", "bark", "airplane", "race_car", "female_speech", "helicopter", "violin",
    "flute", "ukulele", "frying_food", "truck", "shofar", "motorcycle", "acoustic_guitar", "train_horn",
    "clock", "banjo", "goat", "baby_cry", "bus", "chainsaw", "cat", "horse", "toilet_flush", "rodents",
    "accordion", "mandolin",
)
TINY = BackboneConfig(dim=96, depth=12, heads=3)
TINY_FUSION = FusionConfig(dim=96, depth=2, heads=4)
TINY_QOI = QoiConfig(size=48, dim=64, depth=2, heads=4, layer_hidden=64, corruption_hidden=64)


def preset(name: str, depths: Mapping[Modality, int] = MappingProxyType({})) -> ModelConfig:
    """Return a configuration by its name.

    Args:
        name: key of `PRESETS`.
        depths: number of layers of a backbone, in place of the preset's; modalities that are not named keep theirs.

    Raises:
        InputError: there is no preset of this name; or see `with_depths`.
    """
    if name not in PRESETS:
        raise InputError("preset", name, ", ".join(PRESETS))
    return with_depths(PRESETS[name](), depths)


def with_depths(config: ModelConfig, depths: Mapping[Modality, int]) -> ModelConfig:
    """Return a configuration whose backbones have other numbers of layers.

    Args:
        config: description of a model.
        depths: number of layers of a backbone; modalities that are not named keep theirs.

    Raises:
        InputError: the model has no such modality, or a depth is below 1.
    """
    parts = dict(config.modalities)
    for modality, depth in depths.items():
        if modality not in parts:
            raise InputError("depths", modality, f"{', '.join(map(str, parts))} of {config.name}")
        if depth < 1:
            raise InputError(f"depths.{modality}", depth, "1 or more")
        part = parts[modality]
        parts[modality] = part.model_copy(update={"backbone": part.backbone.model_copy(update={"depth": depth})})
    return config.model_copy(update={"modalities": parts})


def stretched(config: ModelConfig) -> ModelConfig:
    """Return a configuration whose images and depth are stretched to [0, 1] frame by frame (official code, GDTM).

    Raises:
        InputError: a depth input has relief, which needs metres.
    """
    parts = dict(config.modalities)
    for modality, part in parts.items():
        if isinstance(part.input, DepthInput) and part.input.relief:
            raise InputError.conflict("preprocessing official", f"{modality} with relief", "relief needs metres")
        if isinstance(part.input, RgbInput | DepthInput):
            parts[modality] = part.model_copy(update={"input": part.input.model_copy(update={"stretch": True})})
    return config.model_copy(update={"modalities": parts})


def _gdtm_tiny() -> ModelConfig:
    """Return four modalities at three sensor nodes, for small computers."""
    return ModelConfig(
        name="gdtm-tiny", trained=False, sensor_nodes=GDTM_NODES, classes=CAR_CLASSES,
        modalities={
            Modality.RGB: ModalityConfig(
                input=RgbInput(height=96, width=96), backbone=TINY, adapter_hidden=192),
            Modality.DEPTH: ModalityConfig(
                input=DepthInput(height=96, width=96, channels=1), backbone=TINY, adapter_hidden=192),
            Modality.RADAR: ModalityConfig(
                input=RadarInput(height=96, width=96), backbone=TINY, adapter_hidden=192),
            Modality.AUDIO: ModalityConfig(input=AudioInput(), backbone=TINY, adapter_hidden=192),
        },
        fusion=TINY_FUSION, qoi=TINY_QOI)


def _gdtm_room() -> ModelConfig:
    """Return four modalities at three sensor nodes of the simulated room, for training on a small dataset."""
    def part(input_config: InputConfig, **stem: object) -> ModalityConfig:
        return ModalityConfig(
            input=input_config, adapter_hidden=192,
            backbone=TINY.model_copy(update={"points": 16, "point_values": 6, **stem}))

    depth = DepthInput(height=64, width=80, relief=True, mean=(0.22, 0.65, 0.0), std=(0.24, 0.48, 0.11), fov_deg=70.0)

    return ModelConfig(
        name="gdtm-room", trained=False, sensor_nodes=GDTM_NODES, node_poses=ROOM_POSES, classes=CAR_CLASSES,
        modalities={
            Modality.RGB: part(RgbInput(height=64, width=128, fov_deg=84.0), stem="fine"),
            Modality.DEPTH: part(depth, stem="fine"),
            Modality.RADAR: part(RadarInput(height=128, width=64, rows=128, mean=1.1, std=0.7), stem="fine"),
            Modality.AUDIO: part(AudioInput(window_s=0.512, frames=31, mels=32, microphones_m=ROOM_MICROPHONES_M),
                                 patch=(8, 8)),
        },
        fusion=TINY_FUSION, qoi=TINY_QOI.model_copy(update={"budget_token": True}),
        localization=LocalizationConfig(kind="evidence", min_m=(-2.0, -2.0), max_m=(2.0, 2.0)))


def _table() -> ModelConfig:
    """Return RGB and radar at one node of the simulated room, small enough to train every baseline on two cores.

    Radar has large patches and no convolutions: with a conv stem or small patches, one layer is as accurate as twelve.
    RGB has smaller patches, because a car in an image is small.
    """
    radar = BackboneConfig(dim=48, heads=3, mlp_ratio=2.0, patch=(32, 32), points=4)
    rgb = radar.model_copy(update={"patch": (16, 16), "points": 8, "point_values": 6})
    return ModelConfig(
        name="table", trained=False, sensor_nodes=("node1",), node_poses={"node1": ROOM_POSES["node1"]},
        classes=CAR_CLASSES,
        modalities={
            Modality.RGB: ModalityConfig(input=RgbInput(height=64, width=128), backbone=rgb, adapter_hidden=96),
            Modality.RADAR: ModalityConfig(input=RadarInput(height=128, width=64, mean=1.1, std=0.7),
                                           backbone=radar, adapter_hidden=96)},
        fusion=FusionConfig(dim=48, depth=2, heads=4),
        qoi=QoiConfig(size=32, dim=32, depth=1, heads=4, layer_hidden=64, corruption_hidden=64),
        localization=LocalizationConfig(kind="evidence", min_m=(-2.0, -2.0), max_m=(2.0, 2.0)))


def _rgb_radar() -> ModelConfig:
    """Return RGB and radar of one node of `gdtm-room`, one layer each: the backbones of the shipped model fit."""
    model, node = _gdtm_room(), "node1"
    kept = {m: model.modalities[m] for m in (Modality.RGB, Modality.RADAR)}
    one = model.model_copy(update={
        "name": "rgb-radar", "modalities": kept, "sensor_nodes": (node,), "node_poses": {node: model.node_poses[node]}})
    return with_depths(one, dict.fromkeys(kept, 1))


def _table_mmfi() -> ModelConfig:
    """Return RGB and depth of four frames of a clip, small enough to train the classification tables on one core."""
    depth = DepthInput(height=64, width=64, relief=True, max_m=5.0, mean=(0.6, 0.9, 0.0), std=(0.2, 0.3, 0.1))
    return _of_clips("table-mmfi", ("frame01", "frame05", "frame09", "frame13"),
                     tuple(f"A{i:02d}" for i in range(1, 28)), (32, 32), Modality.DEPTH, depth)


def _table_ave() -> ModelConfig:
    """Return RGB of four frames of a clip, and its sound, likewise."""
    audio = AudioInput(channels=1, window_s=10.24, fft=1024, hop=1280, mels=64, frames=128)
    return _of_clips("table-ave", ("frame1", "frame3", "frame5", "frame7"), AVE_CLASSES, (16, 16),
                     Modality.AUDIO, audio)


def _of_clips(name: str, frames: tuple[str, ...], classes: tuple[str, ...], patch: tuple[int, int], other: Modality,
              other_input: InputConfig) -> ModelConfig:
    """Return a small network for RGB of some frames of a clip, and another modality."""
    backbone = BackboneConfig(dim=48, heads=3, mlp_ratio=2.0, patch=patch)
    inputs: dict[Modality, InputConfig] = {Modality.RGB: RgbInput(height=64, width=64), other: other_input}
    return ModelConfig(
        name=name, trained=False, sensor_nodes=frames, classes=classes,
        modalities={m: ModalityConfig(input=x, backbone=backbone, adapter_hidden=96) for m, x in inputs.items()},
        fusion=FusionConfig(dim=48, depth=2, heads=4),
        qoi=QoiConfig(size=32, dim=32, depth=1, heads=4, layer_hidden=64, corruption_hidden=64))


def _rgbd_segmentation() -> ModelConfig:
    """Return the inputs of RGB-D segmentation: one camera, depth with validity and relief. Backbones are not used."""
    inputs: dict[Modality, InputConfig] = {
        Modality.RGB: RgbInput(height=64, width=128),
        Modality.DEPTH: DepthInput(height=64, width=128, relief=True, mean=(0.22, 0.65, 0.0), std=(0.24, 0.48, 0.11))}
    return ModelConfig(name="rgbd-segmentation", trained=False, sensor_nodes=("camera",), classes=CAR_CLASSES,
                       modalities={m: ModalityConfig(input=x, backbone=TINY, adapter_hidden=192)
                                   for m, x in inputs.items()}, fusion=TINY_FUSION, qoi=TINY_QOI)


def _table_rgbd() -> ModelConfig:
    """Return `table` with depth in place of radar, as in the paper's tables, for long training on a GPU."""
    model = _table()
    rgb = model.modalities[Modality.RGB]
    depth = rgb.model_copy(update={"input": DepthInput(height=64, width=96, relief=True)})
    return model.model_copy(update={"name": "table-rgbd", "modalities": {Modality.RGB: rgb, Modality.DEPTH: depth}})


def _table_nodes() -> ModelConfig:
    """Return RGB and depth at three sensor nodes, as in the paper's tables, small enough for one CPU core.

    One depth camera only shows a nearby car; three of them see most of the room. With fine stems both modalities learn
    within minutes.
    """
    model = _table()
    fine = BackboneConfig(dim=48, heads=3, mlp_ratio=2.0, patch=(16, 16), stem="fine", points=8, point_values=6)
    depth = DepthInput(height=32, width=48, relief=True, mean=(0.22, 0.65, 0.0), std=(0.24, 0.48, 0.11))
    inputs: dict[Modality, InputConfig] = {Modality.RGB: RgbInput(height=32, width=64), Modality.DEPTH: depth}
    return model.model_copy(update={
        "name": "table-nodes", "sensor_nodes": GDTM_NODES, "node_poses": ROOM_POSES,
        "modalities": {m: ModalityConfig(input=x, backbone=fine, adapter_hidden=96) for m, x in inputs.items()}})


def _rgbd() -> ModelConfig:
    """Return a tiny network for one RGB-D camera."""
    return ModelConfig(
        name="rgbd", trained=False, sensor_nodes=("camera",), classes=CAR_CLASSES,
        modalities={
            Modality.RGB: ModalityConfig(
                input=RgbInput(height=96, width=96), backbone=TINY, adapter_hidden=192),
            Modality.DEPTH: ModalityConfig(
                input=DepthInput(height=96, width=96, channels=1), backbone=TINY, adapter_hidden=192),
        },
        fusion=TINY_FUSION, qoi=TINY_QOI)


def _gdtm() -> ModelConfig:
    """Return the paper's GDTM network: RGB and depth with ViT-B at three sensor nodes."""
    return ModelConfig(
        name="gdtm", trained=False, sensor_nodes=GDTM_NODES, classes=CAR_CLASSES,
        modalities={Modality.RGB: ModalityConfig(input=RgbInput()),
                    Modality.DEPTH: ModalityConfig(input=DepthInput())})


def _gdtm_universal() -> ModelConfig:
    """Return `gdtm` with the paper's universal controller: a learned token for each of four budgets (Section A.1)."""
    model = _gdtm()
    qoi = model.qoi.model_copy(update={"budget_token": True, "budget_encoding": "tokens",
                                       "token_budgets": (6, 8, 12, 16)})
    return model.model_copy(update={"name": "gdtm-universal", "qoi": qoi})


def _gdtm_3() -> ModelConfig:
    """Return the GDTM network with radar in addition (Section 4.3, Figure 7).

    Radar is range-Doppler, 256 x 16, three times the same channel, with patches of 16 x 16, as in the official code.
    """
    model = _gdtm()
    radar = ModalityConfig(input=RadarInput(height=256, width=16, channels=3))
    return model.model_copy(update={"name": "gdtm-3", "modalities": {**model.modalities, Modality.RADAR: radar}})


def _gdtm_4() -> ModelConfig:
    """Return the GDTM network with radar (range-Doppler 256 x 16) and audio in addition."""
    return ModelConfig(
        name="gdtm-4", trained=False, sensor_nodes=GDTM_NODES, classes=CAR_CLASSES,
        modalities={
            Modality.RGB: ModalityConfig(input=RgbInput()),
            Modality.DEPTH: ModalityConfig(input=DepthInput()),
            Modality.RADAR: ModalityConfig(
                input=RadarInput(height=256, width=16), backbone=BackboneConfig(patch=(16, 4))),
            Modality.AUDIO: ModalityConfig(input=AudioInput(), backbone=BackboneConfig(patch=(8, 8))),
        })


def _mmfi() -> ModelConfig:
    """Return the paper's MM-Fi network: 27 activities from 15 RGB and 15 depth frames, one per sensor node.

    The controller has six layers and reads the first three frames, as in the official code.
    """
    return ModelConfig(
        name="mmfi", trained=False, sensor_nodes=tuple(f"frame{i:02d}" for i in range(1, 16)),
        modalities={Modality.RGB: ModalityConfig(input=RgbInput(), adapter_hidden=400),
                    Modality.DEPTH: ModalityConfig(input=DepthInput(), adapter_hidden=400)},
        fusion=FusionConfig(dim=64), qoi=QoiConfig(depth=6, corruption_hidden=400, observed=3),
        classes=tuple(f"A{i:02d}" for i in range(1, 28)))


def _ave() -> ModelConfig:
    """Return the paper's AVE network: 28 events from 8 RGB frames, and a spectrogram of 10 s at the first frame.

    The controller's width and its view of the spectrogram are those of the official code.
    """
    audio = AudioInput(channels=1, window_s=10.24, fft=512, hop=160, mels=128, frames=1024)
    return ModelConfig(
        name="ave", trained=False, sensor_nodes=tuple(f"frame{i}" for i in range(1, 9)),
        modalities={Modality.RGB: ModalityConfig(input=RgbInput()), Modality.AUDIO: ModalityConfig(input=audio)},
        qoi=QoiConfig(dim=512, spectrogram=(128, 512)), classes=AVE_CLASSES)


PRESETS: Final[dict[str, Callable[[], ModelConfig]]] = {
    "gdtm-tiny": _gdtm_tiny,
    "gdtm-room": _gdtm_room,
    "table": _table,
    "table-rgbd": _table_rgbd,
    "table-nodes": _table_nodes,
    "rgb-radar": _rgb_radar,
    "table-mmfi": _table_mmfi,
    "table-ave": _table_ave,
    "rgbd-segmentation": _rgbd_segmentation,
    "rgbd": _rgbd,
    "gdtm": _gdtm,
    "gdtm-universal": _gdtm_universal,
    "gdtm-3": _gdtm_3,
    "gdtm-4": _gdtm_4,
    "mmfi": _mmfi,
    "ave": _ave,
}
