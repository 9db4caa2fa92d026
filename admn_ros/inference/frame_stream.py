# SPDX-License-Identifier: Apache-2.0
"""The first half of a frame's walk: messages in, synchronized frames out. No network is needed for it.

Messages are taken as they come from rclpy or from a bag reader: only their fields are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from admn_ros.config import AudioInput, ModelConfig
from admn_ros.deployment import DeploymentConfig, InputTopic, SyncConfig
from admn_ros.errors import InputError
from admn_ros.sample import Array, Modality, SensorFrame, SensorKey
from admn_ros.sensing.decode.audio import AudioWindow
from admn_ros.sensing.decode.decoders import decode_picture, decode_sound
from admn_ros.sensing.decode.images import stamp_ns
from admn_ros.sensing.preprocess.camera_calibration import calibrations
from admn_ros.sensing.preprocess.node_poses import Placement
from admn_ros.sensing.preprocess.preprocessor import Preprocessor
from admn_ros.sensing.sync.synchronizer import MakeSynchronizer, holding

_AUDIO_MARGIN = 1.5  # the window keeps this much more than the model looks at, for late frames


@dataclass
class InputHealth:
    """What became of the messages of one input."""

    accepted: int = 0
    refused: int = 0
    last_error: str = ""
    causes: set[str] = field(default_factory=set)

    def refuse(self, error: InputError) -> bool:
        """Count a refusal; True when this cause is new and worth a log line."""
        self.refused += 1
        self.last_error = str(error)
        cause = f"{error.field}: {error.allowed}"
        new = cause not in self.causes and len(self.causes) < 32
        if new:
            self.causes.add(cause)
        return new


class FrameMaker:
    """Decoding, sound windows and the synchronizer for the inputs of one deployment."""

    def __init__(self, config: ModelConfig, deployment: DeploymentConfig,
                 make_synchronizer: MakeSynchronizer = holding) -> None:
        """Begin with nothing received.

        config: the model that the frames are for; it says how long and how fast its sound is.

        Raises:
            ConfigError: the deployment has an input or a frame that the model does not know, or a policy that cannot
                be had.
        """
        Preprocessor(config).check_inputs(list(deployment.inputs))
        self.inputs: Mapping[SensorKey, InputTopic] = deployment.inputs
        self.health = {key: InputHealth() for key in self.inputs}
        self.silent_s = deployment.sync.silent_s
        self._sync, self._make_synchronizer = deployment.sync, make_synchronizer
        self._config, self._frames = config, deployment.frames
        audio = config.modalities.get(Modality.AUDIO)
        self.sound = audio.input if audio is not None and isinstance(audio.input, AudioInput) else AudioInput()
        self.restart()

    def restart(self) -> None:
        """Forget every reading. What was gathered before a pause belongs to no frame after it.

        Sensor nodes stand where the model's file says until TF says else; cameras are not calibrated until they say.
        """
        self.cameras = calibrations(self.inputs, self._config)
        self.placement = Placement(self._config, self._frames) if self._frames else None
        self.synchronizer = self._make_synchronizer(self._sync, list(self.inputs))
        self.newest: tuple[SensorKey, Array] | None = None
        self._audio = {key: AudioWindow(_AUDIO_MARGIN * self.sound.window_s)
                       for key in self.inputs if key.modality is Modality.AUDIO}

    def receive(self, key: SensorKey, message: Any, now_s: float) -> list[SensorFrame]:
        """Take one message of an input; return the frames that it completes.

        now_s: arrival time on a monotonic clock, seconds.

        Raises:
            InputError: the message cannot be used; it was counted, and the next one may be fine.
        """
        try:
            stamp = stamp_ns(message.header.stamp)
            data = self._decode(key, message, stamp)
            if key in self.cameras:
                data = self.cameras[key].apply(data, message.header.frame_id)
        except InputError as error:
            raise error.within(str(key)) from error
        self.health[key].accepted += 1
        self.newest = key, data
        return self.synchronizer.add(key, stamp, data, now_s)

    def poll(self, now_s: float) -> list[SensorFrame]:
        """Frames whose wait has run out. Call every few milliseconds."""
        return self.synchronizer.poll(now_s)

    def retune(self, sync: SyncConfig) -> None:
        """Take other limits of the modalities and another `silent_s`, while readings come.

        Raises:
            ConfigError: something else of the configuration is another.
        """
        self.synchronizer.retune(sync)
        self._sync, self.silent_s = sync, sync.silent_s

    def _decode(self, key: SensorKey, message: Any, stamp: int) -> Array:
        if key.modality is not Modality.AUDIO:
            return decode_picture(key.modality, self.inputs[key], message)
        window = self._audio[key]
        samples, rate_hz = decode_sound(self.inputs[key], message)
        window.push(samples, stamp, rate_hz)
        return window.window(stamp, self.sound.window_s, self.sound.sample_rate_hz)
