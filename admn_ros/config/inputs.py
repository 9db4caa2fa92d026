# SPDX-License-Identifier: Apache-2.0
"""Inputs of a model: preprocessing and tensor shape of each modality."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from admn_ros.config.base import Finite, NotNegative, Positive, Strict

AUDIO_RATE_HZ = 16000
"""Default sample rate of an audio input in Hz."""
AUDIO_PARTS = 3
"""Parts of the window of an audio input with directions."""
LONGEST_SIDE = 4096
"""Largest side of an input in pixels, cells or frames."""
Side = Annotated[int, Field(ge=1, le=LONGEST_SIDE)]
Channels = Annotated[int, Field(ge=1, le=64)]
Samples = Annotated[int, Field(ge=1, le=2**20)]
FieldOfView = Annotated[float, Field(gt=0, lt=180)]
"""Horizontal field of view of the cameras in the training data, in degrees."""


class RgbInput(Strict):
    """RGB image: (3, height, width), values in [0, 1] normalized by mean and standard deviation.

    Attributes:
        height: rows.
        width: columns.
        mean: mean of each channel.
        std: standard deviation of each channel.
        fov_deg: horizontal field of view of the cameras in the training data, in degrees; null if unknown.
        stretch: whether the values of each image are first stretched to [0, 1], as in the official code for GDTM.
    """

    kind: Literal["rgb"] = "rgb"
    height: Side = 224
    width: Side = 224
    mean: tuple[Finite, Finite, Finite] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    fov_deg: FieldOfView | None = None
    stretch: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        return 3, self.height, self.width


class DepthInput(Strict):
    """Metric depth, clipped to [min_m, max_m] and divided by max_m; invalid pixels are 0.

    The scale is fixed, not per frame, so that absolute depth is preserved, unless `stretch` asks for the official one.

    Attributes:
        height: rows.
        width: columns.
        channels: copies of the depth channel; 3 with relief.
        min_m: smallest valid depth in metres.
        max_m: largest valid depth in metres.
        relief: whether the channels are depth, a mask of the valid pixels, and the local relief (difference to the
            surroundings).
        mean: mean of each channel, with relief.
        std: standard deviation of each channel, with relief.
        fov_deg: horizontal field of view of the cameras in the training data, in degrees; null if unknown.
        stretch: whether the values of each image are stretched to [0, 1] instead, as in the official code for GDTM;
            invalid pixels count as 0. `min_m` and `max_m` are then not used.
    """

    kind: Literal["depth"] = "depth"
    height: Side = 224
    width: Side = 224
    channels: Channels = 3
    min_m: NotNegative = 0.1
    max_m: Positive = 9.0
    relief: bool = False
    mean: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    fov_deg: FieldOfView | None = None
    stretch: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> DepthInput:
        if self.min_m >= self.max_m:
            raise ValueError(f"min_m {self.min_m} must be below max_m {self.max_m}")
        if self.relief and self.stretch:
            raise ValueError("stretch conflicts with relief, which needs metres")
        if self.relief and self.channels != 3:
            raise ValueError(f"relief requires 3 channels, not {self.channels}")
        if not self.relief and (any(self.mean) or set(self.std) != {1.0}):
            raise ValueError("mean and std require relief")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        return self.channels, self.height, self.width


class RadarInput(Strict):
    """Radar magnitude x as (log1p(x / floor) - mean) / std, resized to (channels, height, width).

    Attributes:
        height: rows after resizing.
        width: columns after resizing.
        channels: copies of the magnitude channel.
        rows: number of range rows that are used, from the first; null for all. The range of a row in metres must be
            that of the training data.
        floor: magnitude that scales the logarithm.
        mean: mean of the logarithm.
        std: standard deviation of the logarithm.
    """

    kind: Literal["radar"] = "radar"
    height: Side = 224
    width: Side = 224
    channels: Channels = 1
    rows: Side | None = None
    floor: Positive = 1.0
    mean: Finite = 0.0
    std: Positive = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        return self.channels, self.height, self.width


class AudioInput(Strict):
    """Log-mel spectrograms (channels, mels, frames), normalized by mean and standard deviation.

    HTK mel scale, natural logarithm of the power. The newest fft + (frames - 1) * hop samples are used; a shorter
    window is padded with zeros in front. Missing channels repeat the present ones.

    Attributes:
        sample_rate_hz: sample rate in Hz.
        channels: number of microphones.
        window_s: length of the window in seconds.
        fft: length of the Fourier transform in samples.
        hop: step between transforms in samples.
        mels: number of mel bands.
        frames: number of transforms.
        mean: mean of the log-mel values.
        std: standard deviation of the log-mel values.
        microphones_m: positions (x, y) of the microphones in the sensor node's frame, in metres. With them, the input
            is (6, mels, azimuths): for each third of the window, the steered response power of each mel band in each
            direction, and the level of the band.
        azimuths: number of directions.
    """

    kind: Literal["audio"] = "audio"
    sample_rate_hz: Annotated[int, Field(ge=1, le=384_000)] = AUDIO_RATE_HZ
    channels: Channels = 4
    window_s: Annotated[float, Field(gt=0, le=60)] = 1.024
    fft: Samples = 512
    hop: Samples = 256
    mels: Side = 64
    frames: Side = 64
    mean: Finite = -4.0
    std: Positive = 4.0
    microphones_m: tuple[tuple[Finite, Finite], ...] = ()
    azimuths: Side = 48

    @model_validator(mode="after")
    def _consistent(self) -> AudioInput:
        if self.microphones_m and (len(self.microphones_m) != self.channels or self.channels < 2):
            raise ValueError(f"microphones_m has {len(self.microphones_m)} positions, must have one for each of the "
                             f"{self.channels} channels, of which there are at least 2")
        if self.microphones_m and self.frames < AUDIO_PARTS:
            raise ValueError(f"frames {self.frames} must be at least {AUDIO_PARTS} with microphones_m")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        if self.microphones_m:
            return 2 * AUDIO_PARTS, self.mels, self.azimuths
        return self.channels, self.mels, self.frames


InputConfig = Annotated[RgbInput | DepthInput | RadarInput | AudioInput, Field(discriminator="kind")]
