# SPDX-License-Identifier: Apache-2.0
"""The deployment file (`config/*.yaml`): which topics, which clock, which budget."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from admn_ros.config import BudgetUnit, Finite, Name, NotNegative, Positive, Strict
from admn_ros.sample import Modality, SensorKey

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
"""What an input can be; the first where the file does not say."""


class RadarGrid(Strict):
    """The range-azimuth heatmap into which the points of a radar are drawn. It must be what the model was trained on.

    rows: of range; row k is at k * `range_step_m`.
    columns: of azimuth, in equal steps of its sine from +1 (left) to -1, as an angle FFT gives them.
    strength: field of a point cloud that says how strong a point is; null takes the first of intensity, snr,
        power, amplitude, rcs.
    decibels: strength is 20 log10 of a magnitude; otherwise it is the magnitude.
    """

    rows: Annotated[int, Field(ge=1, le=4096)] = 256
    range_step_m: Positive = 0.0435
    columns: Annotated[int, Field(ge=1, le=4096)] = 64
    strength: str | None = None
    decibels: bool = True


class SoundFormat(Strict):
    """Of messages that do not say it themselves (`audio_data`)."""

    sample_rate_hz: Annotated[int, Field(ge=1000, le=384_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    encoding: Literal["S16LE", "F32LE"] = "S16LE"


TopicName = Annotated[str, Field(pattern=r"^(~/|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$")]
CAMERAS: Final = (Modality.RGB, Modality.DEPTH)
"""Modalities whose images have a calibration."""
_NO_TOPIC = "none"


class InputTopic(Strict):
    """One sensor topic.

    type: of its messages; null is the first of `INPUT_TYPES` for the modality.
    grid: with point_cloud and radar_scan; null is the default one.
    sound: with audio_data; null is the default one.
    camera_info: of rgb and depth, topic of the camera's calibration; null is the one beside the image, as
        image_transport has it; none: images are taken as they are.
    rectified: of rgb and depth, whether the images are rectified already, whatever their calibration says; null:
        if the last part of the topic says `rect`, as image_proc names them.
    """

    topic: TopicName
    type: InputType | None = None
    grid: RadarGrid | None = None
    sound: SoundFormat | None = None
    camera_info: TopicName | None = None
    rectified: bool | None = None

    @property
    def compressed(self) -> bool:
        """Whether it is a compressed image."""
        return self.type == "compressed_image"

    def kind_of(self, modality: Modality) -> InputType:
        """The type, or the modality's first."""
        return self.type or INPUT_TYPES[modality][0]

    def resolved(self, modality: Modality) -> InputTopic:
        """The same with its type said.

        Raises:
            ValueError: a type that the modality does not have, or settings of another type.
        """
        kind = self.kind_of(modality)
        if kind not in INPUT_TYPES[modality]:
            raise ValueError(f"type {kind} is not of {modality}; it has {', '.join(INPUT_TYPES[modality])}")
        for field, kinds in (("grid", ("point_cloud", "radar_scan")), ("sound", ("audio_data",))):
            if getattr(self, field) is not None and kind not in kinds:
                raise ValueError(f"{field} is of type {' and '.join(kinds)}, not {kind}")
        for field in ("camera_info", "rectified"):
            if getattr(self, field) is not None and modality not in CAMERAS:
                raise ValueError(f"{field} is of {' and '.join(CAMERAS)}, not {modality}")
        return self.model_copy(update={"type": kind})

    def info_topic(self, modality: Modality, image_topic: str | None = None) -> str | None:
        """Where the calibration of a camera is published; None where none is asked for.

        image_topic: full name of the image topic; null takes the one of the file. The calibration is beside the raw
        image: `/cam/image_raw` and `/cam/image_raw/compressed` have `/cam/camera_info`.
        """
        if modality not in CAMERAS or self.camera_info == _NO_TOPIC:
            return None
        if self.camera_info is not None:
            return self.camera_info
        parts = self._image_parts(image_topic or self.topic)
        return "/".join([*parts[:-1], "camera_info"])

    @property
    def is_rectified(self) -> bool:
        """Whether the images come rectified, by the file or by the name of their topic."""
        if self.rectified is not None:
            return self.rectified
        return any(word.startswith("rect") for word in self._image_parts(self.topic)[-1].split("_"))

    def _image_parts(self, topic: str) -> list[str]:
        """Parts of the topic of the raw image, of which a compressed one is the last but one."""
        parts = topic.split("/")
        return parts[:-1] if self.compressed and len([p for p in parts if p not in ("", "~")]) > 1 else parts


class SyncModality(Strict):
    """How the inputs of one modality are matched to a frame.

    tolerance_s: a reading this close to the frame stamp is fresh.
    hold_s: an older reading is held up to this age; after that it is missing.
    wait_s: how long a frame waits for a live input to become fresh (0: never). Give 0 to inputs slower
        than the reference, or most frames wait in vain; radar has 0 unless the file says otherwise.
    offset_s: known latency of the stamps; subtracted from them.
    """

    tolerance_s: NotNegative = 0.04
    hold_s: NotNegative = 0.3
    wait_s: NotNegative = 0.05
    offset_s: Finite = 0.0


class SyncConfig(Strict):
    """The synchronizer. The reference input's clock makes the frames; if it falls silent for
    `silent_s`, the next live input in order takes over, and a silent input is not waited for.
    A reference must agree with at least half of the live inputs to within `jump_back_s`, so that one
    wrong clock cannot lead. A stamp that jumps back by more than `jump_back_s` (a bag that loops) resets everything.

    policy: hold: all of that. approximate_time: ROS's message_filters in its place, where it is installed; frames then
        are complete sets within `slop_s` of each other, of the last `queue` readings of each input, and what else is
        said here does not count but `reference`, `jump_back_s` and the offsets.
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
        """Settings of a modality, or the defaults."""
        slow = SyncModality(wait_s=0.0) if modality is Modality.RADAR else SyncModality()
        return self.modalities.get(modality, slow)


class BudgetConfig(Strict):
    """The budget in force while no power manager publishes one. Null means everything."""

    limit: Annotated[float, Field(ge=0)] | None = None
    unit: BudgetUnit = "layers"


class NodeFrames(Strict):
    """TF frames of a sensor node, from which its pose is taken instead of from the model's file.

    base: x ahead, y left, z up (REP-103).
    camera: an optical frame (z ahead, REP-103): the tilt is its. Null: the tilt is that of base.
    """

    base: str = Field(min_length=1)
    camera: Annotated[str, Field(min_length=1)] | None = None


class DeploymentConfig(Strict):
    """A deployment file (`config/*.yaml`): sensor nodes and topics, synchronization, default budget, TF frames."""

    sensors: dict[Name, dict[Modality, InputTopic]] = Field(min_length=1)
    sync: SyncConfig = SyncConfig()
    budget: BudgetConfig = BudgetConfig()
    frames: dict[Name, NodeFrames] = Field(default={})

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
    def inputs(self) -> dict[SensorKey, InputTopic]:
        """Topic of each input, with its type said."""
        return {SensorKey(node, modality): entry.resolved(modality)
                for node, inputs in self.sensors.items() for modality, entry in inputs.items()}
