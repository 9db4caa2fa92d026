# SPDX-License-Identifier: Apache-2.0
"""Calibration of one camera of a deployment, and its application to images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admn_ros.config import DepthInput, ModelConfig, RgbInput
from admn_ros.deployment import InputTopic
from admn_ros.errors import InputError
from admn_ros.sample import Array, SensorKey
from admn_ros.sensing.preprocess.camera_model import CameraModel, Rectifier, read_camera_info

FIELD_OF_VIEW_TOLERANCE_DEG = 3.0
"""Deviation from the field of view of the training cameras, in degrees, without a warning."""


class CameraCalibration:
    """The calibration of one camera, from its messages.

    Images are never refused. Without a matching calibration they are passed on unchanged, and `problem` gives the
    reason. After a message that cannot be used, the previous calibration stays in force.

    Args:
        topic: topic of the calibration.
        entry: configured topic of the images.
        trained_deg: horizontal field of view of the training cameras in degrees; None if unknown.

    Attributes:
        topic: topic of the calibration, for messages.
    """

    def __init__(self, topic: str, entry: InputTopic, trained_deg: float | None) -> None:
        self.topic = topic
        self._rectified, self._trained_deg = entry.is_rectified, trained_deg
        self._last: tuple[object, ...] = ()
        self._camera: CameraModel | None = None
        self._rectifier: tuple[CameraModel, Rectifier | InputError] | None = None
        self._refused: InputError | None = None
        self._unfit: InputError | None = None
        self._fitted: CameraModel | None = None

    def on_message(self, message: Any) -> None:
        """Handle a sensor_msgs/CameraInfo. Repeated content costs almost nothing."""
        content = _content(message)
        if content == self._last:
            return
        self._last = content
        try:
            self._camera, self._refused, self._unfit, self._fitted = read_camera_info(message), None, None, None
        except InputError as error:
            self._refused = error

    def refuse(self, error: InputError) -> None:
        """Record a message that could not be decoded."""
        self._last, self._refused = (), error

    def apply(self, image: Array, frame_id: str) -> Array:
        """Return an image as a pinhole camera would have taken it; the image itself if it needs no change.

        Args:
            image: image (H, W, ...).
            frame_id: frame in the header of the image.
        """
        if self._camera is None:
            return image
        try:
            self._fitted, self._unfit = self._fit(self._camera, image, frame_id), None
            if self._rectified or not self._fitted.distorts:
                return image
            return self._rectifier_of(self._fitted)(image)
        except InputError as error:
            self._fitted, self._unfit = None, error
            return image

    @property
    def state(self) -> str:
        """Treatment of the images, for diagnostics."""
        if self._camera is None:
            return "not received" if self._refused is None else "not used"
        if self._unfit is not None:
            return "not used"
        if self._rectified:
            return "already rectified"
        return f"rectified, {self._camera.model}" if self._camera.distorts else "no distortion"

    @property
    def field_of_view_deg(self) -> float | None:
        """Horizontal field of view of the images after `apply`, in degrees; None while unknown."""
        if self._fitted is None:
            return None
        return self._fitted.field_of_view_deg(self._rectified or self._fitted.distorts)

    @property
    def problem(self) -> str:
        """Description of the current problem in one line; empty without one."""
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

    def _rectifier_of(self, camera: CameraModel) -> Rectifier:
        """Return the rectifier of a calibration, which is made once.

        Raises:
            InputError: the calibration is not usable.
        """
        if self._rectifier is None or self._rectifier[0] != camera:
            try:
                self._rectifier = camera, Rectifier(camera)
            except InputError as error:
                self._rectifier = camera, error
        made = self._rectifier[1]
        if isinstance(made, InputError):
            raise made.with_traceback(None)
        return made

    @staticmethod
    def _fit(camera: CameraModel, image: Array, frame_id: str) -> CameraModel:
        """Return the calibration for an image.

        Raises:
            InputError: the calibration is that of another camera, or of another size.
        """
        frame = frame_id.lstrip("/")
        if frame and camera.frame_id and frame != camera.frame_id:
            raise InputError("header.frame_id", repr(camera.frame_id), f"that of the images, {frame!r}")
        height, width = image.shape[:2]
        return camera.of_size(width, height)


def calibrations(inputs: Mapping[SensorKey, InputTopic], config: ModelConfig) -> dict[SensorKey, CameraCalibration]:
    """Create the calibration of each camera with a calibration topic."""
    found = {}
    for key, entry in inputs.items():
        topic = entry.info_topic(key.modality)
        if topic is not None:
            seen = config.modalities[key.modality].input
            trained_deg = seen.fov_deg if isinstance(seen, RgbInput | DepthInput) else None
            found[key] = CameraCalibration(topic, entry, trained_deg)
    return found


def _content(message: Any) -> tuple[object, ...]:
    """Return the content of a message without the stamp."""
    roi = message.roi
    return (message.header.frame_id, message.width, message.height, message.distortion_model, tuple(message.d),
            tuple(message.k), tuple(message.r), tuple(message.p), message.binning_x, message.binning_y,
            roi.x_offset, roi.y_offset, roi.width, roi.height)
