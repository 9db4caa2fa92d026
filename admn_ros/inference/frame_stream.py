# SPDX-License-Identifier: Apache-2.0
"""Decoding and synchronization: sensor messages in, synchronized frames out. No network is needed.

Messages of rclpy and of a bag reader are accepted alike, because only their fields are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from admn_ros.config import AudioInput, ModelConfig, RadarInput
from admn_ros.deployment import DeploymentConfig, InputTopic, SyncConfig
from admn_ros.errors import InputError
from admn_ros.inference.seen_causes import SeenCauses
from admn_ros.sample import Array, Modality, SensorFrame, SensorKey
from admn_ros.sensing.decode.audio import AudioWindow
from admn_ros.sensing.decode.audio_messages import SoundDecoder
from admn_ros.sensing.decode.decoders import decode_picture
from admn_ros.sensing.decode.images import OPENCV, ColourConversion, stamp_ns
from admn_ros.sensing.preprocess.camera_calibration import calibrations
from admn_ros.sensing.preprocess.node_poses import NodePoses
from admn_ros.sensing.preprocess.preprocessor import check_inputs
from admn_ros.sensing.preprocess.tensors import check_heatmap
from admn_ros.sensing.sync.input_health import InputHealth, InputWatch
from admn_ros.sensing.sync.synchronizer import MakeSynchronizer, holding

_AUDIO_MARGIN = 1.5
"""Length of the audio buffer over the model's window; the surplus serves late frames."""


class FrameStream:
    """Decoders, audio windows and the synchronizer of one deployment.

    Args:
        config: model that the frames are for. It sets the length and rate of audio windows.
        deployment: inputs, synchronization, and TF frames of the sensor nodes.
        make_synchronizer: factory of the synchronizer.

    Attributes:
        inputs: configured topics by input.
        health: message counters by input.
        sync: synchronization settings in force.
        sound: audio settings of the model; the defaults for a model without audio.
        cameras: calibrations by camera input.
        node_poses: poses of the sensor nodes from TF; None where the deployment names no TF frames.
        newest: last reading of each input.
        conversion: conversion of Bayer patterns and YUV; may be replaced at any time.
        synchronizer: the synchronizer.
        watch: judges whether the readings of each input are used. Its `update` is called by the user of the stream.

    Raises:
        ConfigError: the model lacks an input or TF frame of the deployment, or the synchronization policy is not
            available.
    """

    def __init__(self, config: ModelConfig, deployment: DeploymentConfig,
                 make_synchronizer: MakeSynchronizer = holding) -> None:
        check_inputs(config, deployment.inputs)
        self.inputs: Mapping[SensorKey, InputTopic] = deployment.inputs
        self.health = {key: InputHealth() for key in self.inputs}
        self._causes = SeenCauses(limit=256)
        self.sync, self._make_synchronizer = deployment.sync, make_synchronizer
        self._config, self._tf_frames = config, deployment.frames
        self.conversion: ColourConversion = OPENCV
        audio = config.modalities.get(Modality.AUDIO)
        self.sound = audio.input if audio is not None and isinstance(audio.input, AudioInput) else AudioInput()
        self.restart()

    def restart(self) -> None:
        """Forget all readings, camera calibrations and poses received so far.

        Call it after a pause: readings from before it belong to no later frame.
        """
        self.cameras = calibrations(self.inputs, self._config)
        self.node_poses = NodePoses(self._config, self._tf_frames) if self._tf_frames else None
        self.synchronizer = self._make_synchronizer(self.sync, list(self.inputs))
        self.watch = InputWatch(self.health)
        self.newest: dict[SensorKey, Array] = {}
        self._sounds = {key: SoundDecoder(entry) for key, entry in self.inputs.items()
                        if key.modality is Modality.AUDIO}
        self._audio = {key: AudioWindow(_AUDIO_MARGIN * self.sound.window_s)
                       for key in self.inputs if key.modality is Modality.AUDIO}

    def receive(self, key: SensorKey, message: Any, now_s: float) -> list[SensorFrame]:
        """Decode one message and return the frames that it completes.

        Args:
            key: input that the message arrived on.
            message: sensor message of the configured type.
            now_s: arrival time on a monotonic clock, in seconds.

        Raises:
            InputError: the message cannot be used. Later messages of the input may be fine.
        """
        try:
            stamp = stamp_ns(message.header.stamp)
            data = self._decode(key, message, stamp)
            if key in self.cameras:
                data = self.cameras[key].apply(data, message.header.frame_id)
        except InputError as error:
            raise error.within(str(key)) from error
        self.health[key].accept(stamp, now_s)
        self.newest[key] = data
        return self._count(self.synchronizer.add(key, stamp, data, now_s))

    def refuse(self, key: SensorKey, error: InputError) -> bool:
        """Count a message that `receive` refused.

        Returns:
            Whether the cause is new and worth a log message.
        """
        self.health[key].refuse(str(error))
        return self._causes.is_new(f"{error.field}: {error.allowed}")

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Return frames whose waiting time has run out. Call it at the time that `due_s` gives.

        Args:
            now_s: current time on the clock of `receive`, in seconds.
        """
        return self._count(self.synchronizer.poll(now_s))

    def due_s(self) -> float | None:
        """Return when to call `poll` if no message comes before, on the clock of `receive`; None for never."""
        return self.synchronizer.due_s()

    def retune(self, sync: SyncConfig) -> None:
        """Replace `silent_s` and the limits of each modality without losing readings.

        Raises:
            ConfigError: another setting differs from the one in force.
        """
        self.synchronizer.retune(sync)
        self.sync = sync

    def forget_counts(self) -> None:
        """Start the counters of all inputs anew, as for another recording."""
        self.health.update({key: InputHealth() for key in self.inputs})
        self.watch = InputWatch(self.health)

    def _count(self, frames: list[SensorFrame]) -> list[SensorFrame]:
        for frame in frames:
            for key, reading in frame.readings.items():
                self.health[key].contribute(reading, leads=key == frame.reference)
        return frames

    def _decode(self, key: SensorKey, message: Any, stamp: int) -> Array:
        if key.modality is not Modality.AUDIO:
            data = decode_picture(key.modality, self.inputs[key], message, self.conversion)
            wanted = self._config.modalities[key.modality].input
            if isinstance(wanted, RadarInput):
                check_heatmap(data, wanted)
            return data
        window = self._audio[key]
        samples, rate_hz = self._sounds[key].decode(message, stamp)
        if len(samples):
            window.push(samples, stamp, rate_hz)
        return window.window(stamp, self.sound.window_s, self.sound.sample_rate_hz)
