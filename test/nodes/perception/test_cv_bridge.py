# SPDX-License-Identifier: Apache-2.0
"""cv_bridge in the place of OpenCV: both give equal arrays."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import Image

from admn_ros.errors import InputError
from admn_ros.nodes.perception.image_bridge import CvBridgeConversion, colour_conversion
from admn_ros.sensing.decode.images import COLOUR_ENCODINGS, decode_rgb

pytest.importorskip("cv_bridge", reason="cv_bridge is not installed")


def image(encoding: str, channels: int, *, padding: int = 0, big: bool = False) -> Image:
    """An image of random bytes, with padded rows."""
    rng = np.random.default_rng(len(encoding))
    row = 10 * channels * (2 if encoding.endswith("16") else 1)
    message = Image(height=8, width=10, encoding=encoding, step=row + padding, is_bigendian=int(big))
    message.data.frombytes(rng.integers(0, 256, 8 * (row + padding), dtype=np.uint8).tobytes())
    return message


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", [e for e in COLOUR_ENCODINGS if e.startswith(("bayer", "yuv", "uyvy", "yuyv"))])
def test_both_ways_give_equal_arrays(encoding: str, padding: int, big: bool) -> None:
    message = image(encoding, 1 if encoding.startswith("bayer") else 2, padding=padding, big=big)
    np.testing.assert_array_equal(decode_rgb(message, CvBridgeConversion()), decode_rgb(message))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_our_views_are_equal_to_its_conversions(encoding: str) -> None:
    channels = {"mono8": 1, "rgba8": 4, "bgra8": 4}.get(encoding, 3)
    message = image(encoding, channels)
    stored = np.frombuffer(message.data, np.uint8).reshape(8, 10, channels)
    expected = CvBridgeConversion().to_rgb(stored[..., 0] if channels == 1 else stored, encoding)
    np.testing.assert_array_equal(decode_rgb(message), expected)


@pytest.mark.parametrize(("encoding", "channels"), [("16UC3", 6), ("8UC4", 4), ("32FC1", 4), ("no such", 3)])
def test_what_neither_converts_is_refused_in_one_line(encoding: str, channels: int) -> None:
    with pytest.raises(InputError) as caught:
        decode_rgb(image(encoding, channels), colour_conversion(pytest.fail))
    assert caught.value.field == "encoding" and encoding in str(caught.value) and "\n" not in str(caught.value)
