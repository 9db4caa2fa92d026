# SPDX-License-Identifier: Apache-2.0
"""Synthetic sensor messages of GDTM's types and sizes, valid or invalid. They hold noise."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage, Image

from admn_ros.errors import InputError
from admn_ros.msg import AudioFrame
from admn_ros.nodes.conversions import header
from admn_ros.sample import Modality

Message = Image | CompressedImage | AudioFrame
RATES_HZ = {Modality.RGB: 15.0, Modality.DEPTH: 15.0, Modality.RADAR: 4.0, Modality.AUDIO: 15.0}
SAMPLE_RATE_HZ = 16000
FRAME = "synthetic"
UNKNOWN_ENCODING = "no_such_encoding"


@dataclass(frozen=True)
class Sizes:
    """Sizes of the messages.

    Attributes:
        rgb: height and width in pixels; likewise depth and radar.
        depth: likewise.
        radar: likewise.
        microphones: number of audio channels.
    """

    rgb: tuple[int, int] = (480, 640)
    depth: tuple[int, int] = (480, 640)
    radar: tuple[int, int] = (256, 64)
    microphones: int = 4


def image_size(text: str) -> tuple[int, int]:
    """Parse WIDTHxHEIGHT, an argument of a command, to (height, width).

    Raises:
        ArgumentTypeError: the text has another form.
    """
    width, _, height = text.partition("x")
    try:
        return int(height), int(width)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: WIDTHxHEIGHT, such as 640x480") from None


def valid_message(modality: Modality, sizes: Sizes, rng: np.random.Generator) -> Message:
    """Return a valid message with stamp zero."""
    match modality:
        case Modality.RGB:
            return image_message("rgb8", _smooth(rng, (*sizes.rgb, 3), 255).astype(np.uint8))
        case Modality.DEPTH:
            return image_message("16UC1", _smooth(rng, sizes.depth, 6000).astype(np.uint16))
        case Modality.RADAR:
            return image_message("32FC1", rng.rayleigh(1.0, sizes.radar).astype(np.float32))
        case Modality.AUDIO:
            return audio_message("S16LE", rng.integers(-3000, 3000, (_chunk(), sizes.microphones)).astype("<i2"))


def nan_message(modality: Modality, sizes: Sizes) -> Message:
    """Return a message of NaN, in a floating-point encoding (of RGB, an unsupported one)."""
    match modality:
        case Modality.RGB:
            return image_message("32FC3", np.full((*sizes.rgb, 3), np.nan, np.float32))
        case Modality.AUDIO:
            return audio_message("F32LE", np.full((_chunk(), sizes.microphones), np.nan, np.float32))
        case _:
            shape = sizes.depth if modality is Modality.DEPTH else sizes.radar
            return image_message("32FC1", np.full(shape, np.nan, np.float32))


def reencoded_message(modality: Modality, sizes: Sizes, rng: np.random.Generator) -> Message:
    """Return a valid message in another supported encoding; of a radar, in the other byte order."""
    match modality:
        case Modality.RGB:
            return image_message("bgr8", _smooth(rng, (*sizes.rgb, 3), 255).astype(np.uint8))
        case Modality.DEPTH:
            return image_message("32FC1", _smooth(rng, sizes.depth, 6).astype(np.float32))
        case Modality.RADAR:
            message = image_message("32FC1", rng.rayleigh(1.0, sizes.radar).astype(">f4"))
            message.is_bigendian = 1
            return message
        case Modality.AUDIO:
            return audio_message("F32LE", rng.normal(0, 0.1, (_chunk(), sizes.microphones)).astype("<f4"))


def unknown_encoding_message(modality: Modality, sizes: Sizes, rng: np.random.Generator) -> Message:
    """Return a message in an encoding that does not exist."""
    message = valid_message(modality, sizes, rng)
    message.encoding = UNKNOWN_ENCODING
    return message


def compressed_message(message: Image) -> CompressedImage:
    """Return a colour image as JPEG."""
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)
    done, data = cv2.imencode(".jpg", pixels)
    if not done:
        raise InputError("image", message.encoding, "an image that OpenCV can write as a JPEG")
    return CompressedImage(header=message.header, format="jpeg", data=data.tobytes())


def image_message(encoding: str, pixels: npt.NDArray[np.generic]) -> Image:
    """Return an image of an array (H, W) or (H, W, C), with stamp zero."""
    message = Image(header=header(0, FRAME), height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
                    step=pixels.strides[0])
    message.data.frombytes(pixels.tobytes())
    return message


def audio_message(encoding: str, samples: npt.NDArray[np.generic]) -> AudioFrame:
    """Return a chunk of audio (samples, channels), with stamp zero."""
    message = AudioFrame(header=header(0, FRAME), sample_rate=SAMPLE_RATE_HZ, channels=samples.shape[1],
                         encoding=encoding)
    message.data.frombytes(samples.tobytes())
    return message


def _chunk() -> int:
    return round(SAMPLE_RATE_HZ / RATES_HZ[Modality.AUDIO])


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], largest: float) -> npt.NDArray[np.float64]:
    """Return a smooth random field with a little noise, in (0, largest)."""
    coarse = rng.uniform(0.1, 0.8, (6, 8, *shape[2:]))
    fine = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return largest * np.clip(fine + rng.uniform(-0.05, 0.05, shape), 0.01, 0.99)
