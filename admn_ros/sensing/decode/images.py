# SPDX-License-Identifier: Apache-2.0
"""Decoding of image messages to arrays as in `admn_ros.sample.Reading`.

Messages are duck-typed: they may come from rclpy (`data` is an array.array) or from rosbags (`data` is a NumPy array).
The arrays may share the memory of the message and may be read-only.

A message that cannot be used raises one `InputError` with the field, the value found and what is allowed. Sizes are
checked before memory is allocated.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

from admn_ros.errors import InputError

Buffer: TypeAlias = "bytes | bytearray | memoryview | npt.NDArray[np.uint8] | array[int]"
T = TypeVar("T")

MAX_PIXELS = 64 * 1024 * 1024
"""Maximum number of pixels of an image. A larger one more likely has a broken header."""


class StampMessage(Protocol):
    """builtin_interfaces/Time."""

    @property
    def sec(self) -> int: ...  # noqa: D102
    @property
    def nanosec(self) -> int: ...  # noqa: D102


class ImageMessage(Protocol):
    """sensor_msgs/Image."""

    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def encoding(self) -> str: ...  # noqa: D102
    @property
    def is_bigendian(self) -> int: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def data(self) -> Buffer: ...  # noqa: D102


class CompressedImageMessage(Protocol):
    """sensor_msgs/CompressedImage."""

    @property
    def format(self) -> str: ...  # noqa: D102
    @property
    def data(self) -> Buffer: ...  # noqa: D102


class ColourConversion(Protocol):
    """Conversion of encodings whose colours must be computed: Bayer patterns, YUV, and perhaps others."""

    def layout(self, encoding: str) -> tuple[np.dtype[Any], int] | None:
        """Return type and number of channels of an encoding that is not in `COLOUR_ENCODINGS`; None if unknown."""
        ...

    def to_rgb(self, pixels: npt.NDArray[Any], encoding: str) -> npt.NDArray[Any]:
        """Convert pixels to RGB (H, W, 3) of the same type.

        The pixels are (H, W) or (H, W, channels), without padding and in the byte order of the machine.

        Raises:
            InputError: there is no conversion of this encoding.
        """
        ...


class _Colour(NamedTuple):
    """Storage of a colour image.

    Attributes:
        channels: number of channels.
        conversion: OpenCV's conversion to RGB; None for RGB.
        bits: bits per channel.
        block: number of pixels that share colour information.
    """

    channels: int
    conversion: int | None
    bits: int = 8
    block: int = 1


# 8UC3 and 8UC1 do not define their channels; OpenCV's own order is the convention.
# OpenCV names a Bayer pattern by the second and third pixel of the second row: RGGB is BG.
_COLOUR: dict[str, _Colour] = {
    "rgb8": _Colour(3, None),
    "bgr8": _Colour(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Colour(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Colour(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Colour(1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Colour(3, cv2.COLOR_BGR2RGB),
    "8UC1": _Colour(1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Colour(3, None, 16),
    "bgr16": _Colour(3, cv2.COLOR_BGR2RGB, 16),
    "rgba16": _Colour(4, cv2.COLOR_RGBA2RGB, 16),
    "bgra16": _Colour(4, cv2.COLOR_BGRA2RGB, 16),
    "mono16": _Colour(1, cv2.COLOR_GRAY2RGB, 16),
    **{f"bayer_{pattern}{bits}": _Colour(1, conversion, bits, 2) for bits in (8, 16) for pattern, conversion in (
        ("rggb", cv2.COLOR_BayerBG2RGB), ("bggr", cv2.COLOR_BayerRG2RGB),
        ("gbrg", cv2.COLOR_BayerGR2RGB), ("grbg", cv2.COLOR_BayerGB2RGB))},
    **dict.fromkeys(("yuv422", "uyvy"), _Colour(2, cv2.COLOR_YUV2RGB_UYVY, block=2)),
    **dict.fromkeys(("yuv422_yuy2", "yuyv"), _Colour(2, cv2.COLOR_YUV2RGB_YUY2, block=2)),
}
COLOUR_ENCODINGS = tuple(_COLOUR)
"""Encodings that are known for colour images."""
_DEPTH: dict[str, np.dtype[Any]] = {
    "32FC1": np.dtype(np.float32), "16UC1": np.dtype(np.uint16), "mono16": np.dtype(np.uint16)}
_RADAR: dict[str, np.dtype[Any]] = {"32FC1": np.dtype(np.float32)}
_SATURATED_MM = 65535
_PIXEL_BYTES = (2, 3, 4, 6, 8, 12, 16)
"""Sizes of a pixel in bytes."""
_LONGEST_ALIGNMENT = 64
"""Bytes between two rows that are more than the padding of most drivers."""
_DEPTHS_M = (0.001, 100.0)
"""Depths beyond which not all pixels of an image can be."""


def stamp_ns(stamp: StampMessage) -> int:
    """Return the stamp of a header in nanoseconds.

    Raises:
        InputError: the stamp is zero (the driver does not set it), negative, or not a time.
    """
    if stamp.sec < 0 or not 0 <= stamp.nanosec < 1_000_000_000:
        raise InputError("header.stamp", f"sec {stamp.sec}, nanosec {stamp.nanosec}",
                         "sec not negative, nanosec below 1000000000")
    total = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    if total == 0:
        raise InputError("header.stamp", 0, "the time of the measurement; the driver does not set it")
    return total


class OpenCvConversion:
    """`ColourConversion` of `COLOUR_ENCODINGS` by OpenCV."""

    def layout(self, encoding: str) -> None:
        """Return None: no other encodings are known."""

    def to_rgb(self, pixels: npt.NDArray[Any], encoding: str) -> npt.NDArray[Any]:
        """Convert pixels to RGB (H, W, 3) of the same type."""
        return np.asarray(cv2.cvtColor(pixels, cast(int, _COLOUR[encoding].conversion)))


OPENCV = OpenCvConversion()


def decode_rgb(msg: ImageMessage, conversion: ColourConversion = OPENCV) -> npt.NDArray[np.uint8]:
    """Decode a colour or grey image to uint8 (H, W, 3), RGB order.

    Encodings: rgb8, bgr8, rgba8, bgra8, mono8, and the same with 16 bits, of which the upper 8 are used; Bayer
    patterns; yuv422 (uyvy) and yuv422_yuy2 (yuyv); and those that the conversion knows. 8UC3 counts as bgr8 and 8UC1 as
    mono8, OpenCV's order. Alpha is dropped and grey is repeated. An rgb8 image is a view of the message.

    Args:
        msg: image.
        conversion: conversion of all encodings that are not a mere order of bytes.

    Raises:
        InputError: the encoding is unknown, or a size does not match the data or the encoding.
    """
    if msg.encoding in _COLOUR:
        colour = _COLOUR[msg.encoding]
        return rgb_of(_pixels(msg, np.dtype(f"u{colour.bits // 8}"), colour.channels), msg.encoding, conversion)
    layout = conversion.layout(msg.encoding)
    if layout is None:
        raise InputError("encoding", repr(msg.encoding), ", ".join(_COLOUR))
    return _converted(_pixels(msg, *layout), msg.encoding, conversion)


def rgb_of(pixels: npt.NDArray[Any], encoding: str, conversion: ColourConversion = OPENCV) -> npt.NDArray[np.uint8]:
    """Convert pixels (H, W, channels) of an encoding of `COLOUR_ENCODINGS` to uint8 (H, W, 3), RGB order.

    Raises:
        InputError: the encoding does not exist for this size.
    """
    colour, (height, width, _) = _COLOUR[encoding], pixels.shape
    if width % colour.block or (colour.channels == 1 and height % colour.block):
        raise InputError("width", f"{width}x{height}", f"even sizes with {encoding}")
    if colour.block > 1:
        return _converted(pixels, encoding, conversion)
    if colour.bits == 16:
        pixels = (pixels >> 8).astype(np.uint8)
    if colour.conversion is None:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, colour.conversion), dtype=np.uint8)


def _converted(pixels: npt.NDArray[Any], encoding: str, conversion: ColourConversion) -> npt.NDArray[np.uint8]:
    """Convert pixels (H, W, channels) whose colours must be computed to uint8 (H, W, 3), RGB order."""
    native = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels,
                                  dtype=pixels.dtype.newbyteorder("="))
    rgb = conversion.to_rgb(native, encoding)
    return np.asarray(rgb >> 8 if rgb.dtype == np.uint16 else rgb, dtype=np.uint8)


def decode_depth(msg: ImageMessage) -> npt.NDArray[np.float32]:
    """Decode a depth image to float32 (H, W), metres along the optical axis, NaN where invalid.

    32FC1 is metres (REP-118). NaN, infinity (REP-117: too near, too far), zero and negative values are invalid. 16UC1
    and mono16 are millimetres. 0 is invalid, and so is 65535, with which several cameras mark a saturated pixel.

    Raises:
        InputError: the encoding is unknown, a size does not match the data, or 32FC1 is not in metres.
    """
    dtype = choose(msg.encoding, _DEPTH)
    pixels = _pixels(msg, dtype, 1)[..., 0]
    if dtype.kind == "u":
        return depth_of_millimetres(pixels)
    depth = depth_of_metres(pixels)
    _check_metres(depth)
    return depth


def _check_metres(depth: npt.NDArray[np.float32]) -> None:
    """Refuse depth of which hardly a pixel can be right: millimetres, or the other byte order."""
    some = depth.reshape(-1)[::max(1, depth.size // 4096)]
    some = some[np.isfinite(some)]
    if not some.size:
        return
    near, far = np.quantile(some, (0.05, 0.95))
    if far < _DEPTHS_M[0] or near > _DEPTHS_M[1]:
        raise InputError("data", f"depths of {near:g} to {far:g}",
                         "metres (REP-118); millimetres are 16UC1; is the byte order right?")


def depth_of_millimetres(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Convert pixels (H, W) of a 16UC1 image to float32 metres, NaN where invalid."""
    depth: npt.NDArray[np.float32] = pixels.astype(np.float32)
    depth /= np.float32(1000.0)
    depth[(pixels == 0) | (pixels == _SATURATED_MM)] = np.nan
    return depth


def depth_of_metres(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Convert pixels (H, W) of a 32FC1 image to float32 metres, NaN where invalid."""
    depth: npt.NDArray[np.float32] = pixels.astype(np.float32)
    depth[~((depth > 0) & (depth < np.inf))] = np.nan
    return depth


def decode_radar(msg: ImageMessage) -> npt.NDArray[np.float32]:
    """Decode a radar heatmap (32FC1) to float32 (rows, columns), linear magnitude.

    NaN and negative cells, which are outside the field of view, become 0. An infinite cell means that the magnitudes
    overflowed, which makes the other cells unreliable too.

    Raises:
        InputError: the encoding is unknown, a size does not match the data, or a cell is infinite.
    """
    dtype = choose(msg.encoding, _RADAR)
    heatmap: npt.NDArray[np.float32] = _pixels(msg, dtype, 1)[..., 0].astype(np.float32)
    infinite = int(np.count_nonzero(heatmap == np.inf))
    if infinite:
        raise InputError("data", f"{infinite} infinite cells", "finite magnitudes, NaN outside the field of view")
    heatmap[~(heatmap > 0)] = 0.0
    return heatmap


def choose(encoding: str, known: dict[str, T]) -> T:
    """Return the entry of an encoding.

    Raises:
        InputError: the encoding is unknown.
    """
    if encoding not in known:
        raise InputError("encoding", repr(encoding), ", ".join(known))
    return known[encoding]


def bytes_of(data: Buffer) -> npt.NDArray[np.uint8]:
    """Return a view of the bytes of a message."""
    try:
        view = memoryview(cast(bytes, data))  # Python 3.10 has no type for buffers.
    except TypeError as error:
        raise InputError("data", type(data).__name__, "bytes") from error
    if view.nbytes == 0:  # frombuffer does not accept an empty buffer.
        return np.empty(0, np.uint8)
    return np.frombuffer(view, np.uint8)


def check_size(width: int, height: int) -> None:
    """Check the size of an image.

    Raises:
        InputError: the image has no pixels, or more than `MAX_PIXELS`.
    """
    for field, value in (("width", width), ("height", height)):
        if value <= 0:
            raise InputError(field, value, "at least 1")
    if width * height > MAX_PIXELS:
        raise InputError("width", f"{width}x{height}", f"at most {MAX_PIXELS} pixels")


def _pixels(msg: ImageMessage, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
    """Return a view (H, W, channels) of the pixels of an image, without the padding of rows, in its byte order.

    A step of 0 is not set; the rows then have no padding if the data are that long. A step that fits pixels of another
    size is refused if there is something between the rows.
    """
    check_size(msg.width, msg.height)
    pixel = dtype.itemsize * channels
    row, data = msg.width * pixel, bytes_of(msg.data)
    step = msg.step
    if (step == 0 or msg.height == 1) and data.size == row * msg.height:
        step = row  # The step is not set, or has no meaning, and the data allow only one.
    if step < row:
        raise InputError("step", step, f"at least {row} bytes ({msg.width} pixels of {msg.encoding})")
    if data.size != step * msg.height:
        raise InputError("data", f"{data.size} bytes", f"{step * msg.height} bytes (step times height)")
    ordered = dtype.newbyteorder(">" if msg.is_bigendian else "<")
    pixels: npt.NDArray[Any] = np.ndarray((msg.height, msg.width, channels), ordered, data,
                                          strides=(step, pixel, dtype.itemsize))
    if step >= row + _LONGEST_ALIGNMENT and step in [msg.width * size for size in _PIXEL_BYTES]:
        between = np.ndarray((msg.height, step - row), np.uint8, data, row, (step, 1))
        if (between != between[0, 0]).any():  # Padding is constant, as a rule.
            raise InputError("step", step, f"{row} bytes and padding with {msg.encoding}; the data have "
                                           f"{step // msg.width} bytes per pixel")
    return pixels
