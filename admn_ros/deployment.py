# SPDX-License-Identifier: Apache-2.0
"""Deployment file (`config/*.yaml`): topics, synchronization, default budget, TF frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from admn_ros.config import BudgetUnit, Finite, Limit, Name, NotNegative, Objective, Positive, Strict, load_config
from admn_ros.sample import MOST_CHANNELS, Modality, SensorKey
from admn_ros.share import find_shipped

InputType = Literal["image", "compressed_image", "point_cloud", "radar_scan", "audio_frame", "audio_data"]
MESSAGE_TYPES: Final[dict[InputType, str]] = {
    "image": "sensor_msgs/msg/Image",
    "compressed_image": "sensor_msgs/msg/CompressedImage",
    "point_cloud": "sensor_msgs/msg/PointCloud2",
    "radar_scan": "radar_msgs/msg/RadarScan",
    "audio_frame": "admn_ros/msg/AudioFrame",
    "audio_data": "audio_common_msgs/msg/AudioDataStamped",
}
CAMERA_INFO: Final = "sensor_msgs/msg/CameraInfo"
INPUT_TYPES: Final[dict[Modality, tuple[InputType, ...]]] = {
    Modality.RGB: ("image", "compressed_image"),
    Modality.DEPTH: ("image", "compressed_image"),
    Modality.RADAR: ("image", "point_cloud", "radar_scan"),
    Modality.AUDIO: ("audio_frame", "audio_data"),
}
"""Message types of each modality; the first one is the default."""


class RadarGrid(Strict):
    """Range-azimuth heatmap into which the points of a radar are drawn, as in the training data of the model.

    Attributes:
        rows: number of range bins; row k is at k * `range_step_m`.
        range_step_m: width of a range bin in metres.
        columns: number of azimuth bins, in equal steps of the sine from +1 (left) to -1, as an angle FFT gives them.
        strength: field of a point cloud with the strength of a point; null takes the first of intensity, snr, power,
            amplitude, rcs.
        decibels: whether the strength is 20 log10 of a magnitude; otherwise it is the magnitude.
    """

    rows: Annotated[int, Field(ge=1, le=4096)] = 256
    range_step_m: Positive = 0.0435
    columns: Annotated[int, Field(ge=1, le=4096)] = 64
    strength: str | None = None
    decibels: bool = True


class SoundFormat(Strict):
    """Format of audio messages that do not carry it (`audio_data`).

    Attributes:
        sample_rate_hz: samples per second and channel.
        channels: number of interleaved channels.
        encoding: signed 16 bit or 32 bit float, little-endian.
    """

    sample_rate_hz: Annotated[int, Field(ge=1000, le=384_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=MOST_CHANNELS)] = 1
    encoding: Literal["S16LE", "F32LE"] = "S16LE"


TopicName = Annotated[str, Field(pattern=r"^(~/|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$")]
CAMERAS: Final = (Modality.RGB, Modality.DEPTH)
"""Modalities whose images have a calibration."""
_NO_TOPIC = "none"


class InputTopic(Strict):
    """Topic of one input.

    Attributes:
        topic: name of the topic.
        type: message type; null for the first of `INPUT_TYPES` for the modality.
        grid: heatmap of point_cloud and radar_scan; null for the default one.
        sound: format of audio_data; null for the default one.
        camera_info: topic of an rgb or depth camera's calibration; null for `camera_info` beside the image, as in
            image_transport; `none` to use the images as they are.
        rectified: whether images of rgb or depth are already rectified; null if the last part of the topic starts
            with `rect`, as in image_proc.
    """

    topic: TopicName
    type: InputType | None = None
    grid: RadarGrid | None = None
    sound: SoundFormat | None = None
    camera_info: TopicName | None = None
    rectified: bool | None = None

    @property
    def compressed(self) -> bool:
        """Whether the messages are compressed images."""
        return self.type == "compressed_image"

    def kind_of(self, modality: Modality) -> InputType:
        """Return the message type, or the default of the modality."""
        return self.type or INPUT_TYPES[modality][0]

    def resolved(self, modality: Modality) -> InputTopic:
        """Return a copy with the type filled in.

        Raises:
            ValueError: the modality does not have the type, or a setting belongs to another type.
        """
        kind = self.kind_of(modality)
        if kind not in INPUT_TYPES[modality]:
            raise ValueError(f"type {kind} does not exist for {modality}; use {', '.join(INPUT_TYPES[modality])}")
        for field, kinds in (("grid", ("point_cloud", "radar_scan")), ("sound", ("audio_data",))):
            if getattr(self, field) is not None and kind not in kinds:
                raise ValueError(f"{field} applies to type {' and '.join(kinds)}, not to {kind}")
        for field in ("camera_info", "rectified"):
            if getattr(self, field) is not None and modality not in CAMERAS:
                raise ValueError(f"{field} applies to {' and '.join(CAMERAS)}, not to {modality}")
        return self.model_copy(update={"type": kind})

    def info_topic(self, modality: Modality, image_topic: str | None = None) -> str | None:
        """Return the topic of a camera's calibration; None if the input has none.

        The default is beside the raw image: `/cam/camera_info` for `/cam/image_raw` and `/cam/image_raw/compressed`.

        Args:
            modality: modality of the input.
            image_topic: full name of the image topic; None takes the one of the file.
        """
        if modality not in CAMERAS or self.camera_info == _NO_TOPIC:
            return None
        if self.camera_info is not None:
            return self.camera_info
        parts = self._image_parts(image_topic or self.topic)
        return "/".join([*parts[:-1], "camera_info"])

    @property
    def is_rectified(self) -> bool:
        """Whether the images are already rectified, by the file or by the name of their topic."""
        if self.rectified is not None:
            return self.rectified
        return any(word.startswith("rect") for word in self._image_parts(self.topic)[-1].split("_"))

    def _image_parts(self, topic: str) -> list[str]:
        """Return the parts of the raw image's topic; a compressed image's topic has one part more."""
        parts = topic.split("/")
        return parts[:-1] if self.compressed and len([p for p in parts if p not in ("", "~")]) > 1 else parts


class SyncModality(Strict):
    """Matching of the inputs of one modality to a frame.

    Attributes:
        tolerance_s: largest distance of a fresh reading from the frame stamp, in seconds.
        hold_s: largest age of a held reading in seconds; older readings are missing.
        wait_s: longest time in seconds that a frame waits for a live input to become fresh; 0 to never wait. Use 0 for
            inputs that are slower than the reference, because most frames would wait in vain. Radar has 0 by default.
        offset_s: known latency of the stamps in seconds, subtracted from them.
    """

    tolerance_s: NotNegative = 0.04
    hold_s: NotNegative = 0.3
    wait_s: NotNegative = 0.05
    offset_s: Finite = 0.0


class SyncConfig(Strict):
    """Synchronizer of the inputs.

    Each message of the reference input opens a frame. The reference is the first live input of `reference`; it must
    agree with at least half of the live inputs to within `jump_back_s`, so that one wrong clock cannot lead.

    Attributes:
        policy: `hold`, or `approximate_time` for ROS's message_filters. Frames of approximate_time are complete sets
            within `slop_s`; of the other fields, only `queue`, `reference`, `jump_back_s` and the offsets apply.
        slop_s: largest spread of a set's stamps in seconds, for approximate_time.
        queue: readings of each input that are kept, for approximate_time.
        reference: modalities that may open frames, in order of preference.
        silent_s: seconds without a message after which an input is silent: it cannot be the reference, and frames do
            not wait for it.
        jump_back_s: largest step back of a stamp in seconds. A larger one is a jump: of time, as when a bag loops, if
            most inputs jump; otherwise of its input, which is then ignored.
        buffer: readings of each input that are kept.
        modalities: settings of each modality.
    """

    policy: Literal["hold", "approximate_time"] = "hold"
    slop_s: Positive = 0.1
    queue: Annotated[int, Field(ge=1, le=1000)] = 10
    reference: tuple[Modality, ...] = Field(
        default=(Modality.RGB, Modality.DEPTH, Modality.AUDIO, Modality.RADAR), min_length=1)
    silent_s: Positive = 0.5
    jump_back_s: Positive = 1.0
    buffer: Annotated[int, Field(ge=2, le=1000)] = 16
    modalities: dict[Modality, SyncModality] = Field(default={})

    def of(self, modality: Modality) -> SyncModality:
        """Return the settings of a modality, or the defaults."""
        slow = SyncModality(wait_s=0.0) if modality is Modality.RADAR else SyncModality()
        return self.modalities.get(modality, slow)


class BudgetConfig(Strict):
    """Budget in force while no power manager publishes one.

    Attributes:
        limit: limit per frame; null for no limit.
        unit: unit of the limit.
    """

    limit: Limit = None
    unit: BudgetUnit = "layers"


class NodeFrames(Strict):
    """TF frames that give the pose of a sensor node in place of the model's configuration.

    Attributes:
        base: frame with x ahead, y left, z up (REP-103).
        camera: optical frame (z ahead, REP-103) that gives the tilt; null takes the tilt of `base`.
    """

    base: str = Field(min_length=1)
    camera: Annotated[str, Field(min_length=1)] | None = None


class DeploymentConfig(Strict):
    """Deployment file (`config/*.yaml`).

    Attributes:
        sensors: topic of each modality of each sensor node.
        sync: synchronizer.
        budget: default budget.
        frames: TF frames of the sensor nodes.
        objective: weights of position and class, for models that predict the value of their inputs.
    """

    sensors: dict[Name, dict[Modality, InputTopic]] = Field(min_length=1)
    sync: SyncConfig = SyncConfig()
    budget: BudgetConfig = BudgetConfig()
    frames: dict[Name, NodeFrames] = Field(default={})
    objective: Objective = Objective()

    @field_validator("sensors")
    @classmethod
    def _topics_differ(cls, sensors: dict[str, dict[Modality, InputTopic]]) -> dict[str, dict[Modality, InputTopic]]:
        seen: dict[str, str] = {}
        for node, inputs in sensors.items():
            if not inputs:
                raise ValueError(f"sensor node {node} has no inputs")
            for modality, entry in inputs.items():
                here = f"{node}/{modality}"
                try:
                    entry.resolved(modality)
                except ValueError as error:
                    raise ValueError(f"{here}: {error}") from error
                if entry.topic in seen:
                    raise ValueError(f"topic {entry.topic} is used by both {seen[entry.topic]} and {here}")
                seen[entry.topic] = here
        return sensors

    @property
    def sensor_frames(self) -> set[str]:
        """TF frames of the sensor nodes and their cameras."""
        return {name for frames in self.frames.values() for name in (frames.base, frames.camera) if name}

    @property
    def inputs(self) -> dict[SensorKey, InputTopic]:
        """Topic of each input, with its type filled in."""
        return {SensorKey(node, modality): entry.resolved(modality)
                for node, inputs in self.sensors.items() for modality, entry in inputs.items()}


def find_deployment(name: str | Path) -> Path:
    """Return the path of a deployment file: `name` itself, or the shipped file of that name, as `gdtm`."""
    return find_shipped(name, "config", ".yaml")


def load_deployment(name: str | Path) -> DeploymentConfig:
    """Load a deployment file by its path or its name; see `find_deployment`.

    Raises:
        ConfigError: the file cannot be read or is invalid.
    """
    return load_config(DeploymentConfig, find_deployment(name))
