# SPDX-License-Identifier: Apache-2.0
"""What is known of one camera of a deployment, and what that means for its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admn_ros.config import DepthInput, ModelConfig, RgbInput
from admn_ros.deployment import InputTopic
from admn_ros.errors import InputError
from admn_ros.sample import Array, SensorKey
from admn_ros.sensing.preprocess.camera_model import CameraModel, Rectifier, read_camera_info

FIELD_OF_VIEW_TOLERANCE_DEG = 3.0
"""A camera may see so much more or less than those of the training without a warning."""


class CameraCalibration:
    """The calibration of one camera, as its messages tell it.

    Nothing here stops a picture: without a calibration that fits, it goes on as it came, and `problem` says why.
    A message that cannot be used leaves the calibration before it in force.

    Attributes:
        topic: name of the calibration's topic, for what is said of it.
    """

    def __init__(self, topic: str, entry: InputTopic, trained_deg: float | None) -> None:
        """Begin with nothing heard. trained_deg: horizontal field of view that the network knows, degrees."""
        self.topic = topic
        self._rectified, self._trained_deg = entry.is_rectified, trained_deg
        self._last: tuple[object, ...] = ()
        self._camera: CameraModel | None = None
        self._rectifier: tuple[CameraModel, Rectifier] | None = None
        self._refused: InputError | None = None
        self._unfit: InputError | None = None
        self._fitted: CameraModel | None = None

    def hear(self, message: Any) -> None:
        """Take a sensor_msgs/CameraInfo. One like the last costs next to nothing."""
        said = _content(message)
        if said == self._last:
            return
        self._last = said
        try:
            self._camera, self._refused, self._unfit, self._fitted = read_camera_info(message), None, None, None
        except InputError as error:
            self._refused = error

    def refuse(self, error: InputError) -> None:
        """Note a message that cannot even be read."""
        self._last, self._refused = (), error

    def apply(self, picture: Array, frame_id: str) -> Array:
        """A picture (H, W, ...) as a pinhole camera would have seen it; itself where that is what it is.

        frame_id: of the picture's header.
        """
        if self._camera is None:
            return picture
        try:
            self._fitted, self._unfit = self._fit(self._camera, picture, frame_id), None
        except InputError as error:
            self._fitted, self._unfit = None, error
            return picture
        if self._rectified or not self._fitted.distorts:
            return picture
        if self._rectifier is None or self._rectifier[0] != self._fitted:
            self._rectifier = self._fitted, Rectifier(self._fitted)
        return self._rectifier[1](picture)

    @property
    def state(self) -> str:
        """What is done with the pictures, in words."""
        if self._camera is None:
            return "not heard" if self._refused is None else "not used"
        if self._unfit is not None:
            return "not used"
        if self._rectified:
            return "already rectified"
        return f"rectified, {self._camera.model}" if self._camera.distorts else "no distortion"

    @property
    def field_of_view_deg(self) -> float | None:
        """Horizontal, of the pictures as they go on; None while that is not known."""
        if self._fitted is None:
            return None
        return self._fitted.field_of_view_deg(self._rectified or self._fitted.distorts)

    @property
    def problem(self) -> str:
        """What is wrong, in one line; empty when nothing is."""
        error = self._refused or self._unfit
        if error is not None:
            return str(error.within(self.topic))
        seen_deg = self.field_of_view_deg
        if seen_deg is None or self._trained_deg is None:
            return ""
        if abs(seen_deg - self._trained_deg) <= FIELD_OF_VIEW_TOLERANCE_DEG:
            return ""
        return str(InputError(f"{self.topic}: horizontal field of view", f"{seen_deg:.1f} degrees",
                              f"{self._trained_deg:g}, which the model was trained with; expect worse estimates"))

    @staticmethod
    def _fit(camera: CameraModel, picture: Array, frame_id: str) -> CameraModel:
        """The calibration for a picture.

        Raises:
            InputError: it is another camera's, or of another size.
        """
        frame = frame_id.lstrip("/")
        if frame and camera.frame_id and frame != camera.frame_id:
            raise InputError("header.frame_id", repr(camera.frame_id), f"that of the images, {frame!r}")
        height, width = picture.shape[:2]
        return camera.of_size(width, height)


def calibrations(inputs: Mapping[SensorKey, InputTopic], config: ModelConfig) -> dict[SensorKey, CameraCalibration]:
    """Of each camera that has a topic for it, with nothing heard."""
    found = {}
    for key, entry in inputs.items():
        topic = entry.info_topic(key.modality)
        if topic is not None:
            seen = config.modalities[key.modality].input
            trained_deg = seen.fov_deg if isinstance(seen, RgbInput | DepthInput) else None
            found[key] = CameraCalibration(topic, entry, trained_deg)
    return found


def _content(message: Any) -> tuple[object, ...]:
    """All that a message says but its stamp."""
    roi = message.roi
    return (message.header.frame_id, message.width, message.height, message.distortion_model, tuple(message.d),
            tuple(message.k), tuple(message.r), tuple(message.p), message.binning_x, message.binning_y,
            roi.x_offset, roi.y_offset, roi.width, roi.height)
