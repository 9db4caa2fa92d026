# SPDX-License-Identifier: Apache-2.0
"""Compressed depth: both layouts of image_transport, plain PNG files, and every refusal."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.sensing.decode.compressed_depth import decode_compressed_depth

MILLIMETRES = np.array([[0, 1, 1500, 65535], [65534, 800, 3000, 9999]], np.uint16)
METRES = np.where((MILLIMETRES == 0) | (MILLIMETRES == 65535), np.nan, MILLIMETRES / 1000)


def message(pixels: np.ndarray, encoding: str, header: bytes = bytes(12)) -> SimpleNamespace:
    png = cv2.imencode(".png", pixels)[1].tobytes()
    return SimpleNamespace(format=encoding, data=header + png)


@pytest.mark.parametrize("encoding", ["16UC1; compressedDepth png", "16UC1; compressedDepth", "mono16;compressedDepth"])
def test_millimetres_behind_twelve_bytes(encoding: str) -> None:
    depth = decode_compressed_depth(message(MILLIMETRES, encoding))
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, METRES, rtol=1e-6)


@pytest.mark.parametrize("text", ["png", "", "16UC1; png compressed ", "mono16; png compressed ", "16UC1"])
def test_a_plain_png_is_millimetres(text: str) -> None:
    np.testing.assert_allclose(decode_compressed_depth(message(MILLIMETRES, text, b"")), METRES, rtol=1e-6)


@pytest.mark.parametrize("text", ["bayer_rggb16; png compressed ", "32FC1; png compressed ", "16SC1; png compressed ",
                                  "rgb8; jpeg compressed bgr8"])
def test_a_plain_png_of_another_encoding_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_compressed_depth(message(MILLIMETRES, text, b""))
    assert caught.value.field == "format" and "16UC1, mono16" in str(caught.value)


def quantized(metres: np.ndarray, far_m: float = 10.0, quantum: float = 100.0) -> SimpleNamespace:
    """As compressed_depth_image_transport writes 32FC1: inverse depth, finer near the camera."""
    a = quantum * (quantum + 1)
    b = 1.0 - a / far_m
    with np.errstate(invalid="ignore", divide="ignore"):
        pixels = np.where(np.isfinite(metres), a / metres + b, 0).astype(np.uint16)
    return message(pixels, "32FC1; compressedDepth png", struct.pack("<iff", 0, a, b))


@settings(deadline=None)
@given(st.lists(st.floats(0.4, 9.0) | st.just(float("nan")), min_size=6, max_size=6))
def test_inverse_depth_comes_back_to_its_quantum(values: list[float]) -> None:
    metres = np.array(values, np.float64).reshape(2, 3)
    depth = decode_compressed_depth(quantized(metres))
    # One step of a / z + b is z^2 / a metres.
    np.testing.assert_allclose(depth, metres, atol=9.0**2 / 10100 + 1e-4)


def test_inverse_depth_that_means_nothing_is_invalid() -> None:
    msg = message(np.array([[5, 10, 20]], np.uint16), "32FC1; compressedDepth png", struct.pack("<iff", 0, 100.0, 10.0))
    np.testing.assert_array_equal(decode_compressed_depth(msg), np.array([[np.nan, np.nan, 10.0]], np.float32))


@pytest.mark.parametrize(("change", "field", "found"), [
    ({"format": "16UC1; compressedDepth rvl"}, "format", "rvl"),
    ({"format": "8UC1; compressedDepth png"}, "format", "8UC1"),
    ({"format": ""}, "format", "''"),
    ({"data": bytes(12)}, "data", "12 bytes"),
    ({"data": bytes(40)}, "data", "no PNG"),
    ({"data": bytes(12) + cv2.imencode(".jpg", np.ones((8, 8), np.uint8))[1].tobytes()}, "data", "jpeg with 8 bits"),
    ({"data": bytes(12) + cv2.imencode(".png", np.ones((8, 8), np.uint8))[1].tobytes()}, "data", "png with 8 bits"),
    ({"data": bytes(12) + cv2.imencode(".png", np.ones((8, 8, 3), np.uint16))[1].tobytes()}, "data", "with colours"),
    ({"data": message(MILLIMETRES, "").data[:-30]}, "data", "broken png"),
    ({"format": "32FC1; compressedDepth png",
      "data": struct.pack("<iff", 0, float("nan"), 1.0) + message(MILLIMETRES, "", b"").data}, "data", "A nan"),
    ({"format": "32FC1; compressedDepth png"}, "data", "A 0.0"),
])
def test_refusals(change: dict[str, object], field: str, found: str) -> None:
    good = {"format": "16UC1; compressedDepth png", "data": message(MILLIMETRES, "").data}
    with pytest.raises(InputError) as caught:
        decode_compressed_depth(SimpleNamespace(**good | change))
    assert caught.value.field == field and found in str(caught.value)


@settings(deadline=None)
@given(st.data())
def test_damaged_messages_decode_or_are_refused(data: st.DataObject) -> None:
    raw = bytearray(quantized(np.full((4, 5), 2.0)).data)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        depth = decode_compressed_depth(SimpleNamespace(format="32FC1; compressedDepth png", data=bytes(raw)))
    except InputError:
        return
    assert depth.dtype == np.float32 and depth.ndim == 2 and not (depth <= 0).any()
