# SPDX-License-Identifier: Apache-2.0
"""Compressed colour images: what the file says, what `format` says, and what is refused."""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.sensing.decode import compressed_images as decode

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8), (31, 31), 0)
RED, GREEN, BLUE = 200, 120, 40


def packed(extension: str, pixels: np.ndarray, **change: Any) -> SimpleNamespace:
    data = cv2.imencode(extension, pixels)[1].tobytes()
    return SimpleNamespace(**{"format": extension[1:], "data": data} | change)


def test_png_is_exact_and_jpeg_is_near() -> None:
    np.testing.assert_array_equal(decode.decode_compressed_rgb(packed(".png", SMOOTH)), SMOOTH[..., ::-1])
    lossy = decode.decode_compressed_rgb(packed(".jpg", SMOOTH))
    assert lossy.shape == (48, 64, 3)
    assert np.abs(lossy.astype(int) - SMOOTH[..., ::-1]).mean() < 4


def test_grey_jpeg_and_padding_after_its_end() -> None:
    msg = packed(".jpg", np.full((16, 16), 80, np.uint8))
    msg.data += b"\0" * 100
    np.testing.assert_allclose(decode.decode_compressed_rgb(msg), 80, atol=2)


def mosaic(pattern: str, bits: int = 8) -> np.ndarray:
    """A picture of one colour as a sensor with this Bayer pattern sees it."""
    cell = np.array([{"r": RED, "g": GREEN, "b": BLUE}[c] for c in pattern], np.uint8).reshape(2, 2)
    return np.tile(cell, (8, 12)).astype(np.uint8) if bits == 8 else np.tile(cell, (8, 12)).astype(np.uint16) * 256


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize(("extension", "bits"), [(".png", 8), (".png", 16), (".jpg", 8)])
def test_a_compressed_bayer_pattern_gives_its_colour(pattern: str, extension: str, bits: int) -> None:
    codec = {".png": "png", ".jpg": "jpeg"}[extension]
    stored = cv2.imencode(extension, mosaic(pattern, bits), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    text = f"bayer_{pattern}{bits}; {codec} compressed "
    rgb, loud = (decode.decode_compressed_rgb(SimpleNamespace(format=t, data=stored)) for t in (text, text.upper()))
    np.testing.assert_array_equal(rgb, loud)
    assert rgb.shape == (16, 24, 3) and rgb.dtype == np.uint8
    np.testing.assert_allclose(rgb, np.broadcast_to([RED, GREEN, BLUE], rgb.shape), atol=0 if codec == "png" else 3)


@pytest.mark.parametrize("text", ["", "jpg", "png", "bgr8; png compressed bgr8", "rgb8; png compressed bgr8", "rgb8",
                                  "rgb8; png compressed rgb8", "bayer_rggb8; png compressed bgr8",
                                  "yuv422; png compressed bgr8"])
def test_colours_are_in_the_order_of_the_file(text: str) -> None:
    rgb = decode.decode_compressed_rgb(packed(".png", SMOOTH, format=text))
    np.testing.assert_array_equal(rgb, SMOOTH[..., ::-1])


def test_colours_of_16_bits_are_read_where_the_format_names_them() -> None:
    msg = packed(".png", SMOOTH.astype(np.uint16) * 256 + 77, format="rgb16; png compressed bgr16")
    np.testing.assert_array_equal(decode.decode_compressed_rgb(msg), SMOOTH[..., ::-1])


@pytest.mark.parametrize(("text", "pixels", "found"), [
    ("16UC1; compressedDepth png", SMOOTH, "compressedDepth"),
    ("compressedDepth", SMOOTH, "compressedDepth"),
    ("16UC1; jpeg compressed ", SMOOTH[..., 0], "16UC1"),
    ("32FC1; png compressed ", SMOOTH[..., 0], "32FC1"),
    ("16UC1", SMOOTH, "16UC1"),
    ("bayer_rggb8; png compressed ", SMOOTH, "bayer_rggb8"),
    ("bayer_xyz8; png compressed ", SMOOTH[..., 0], "one of bayer_rggb8"),
    ("BayerRG8; png compressed ", SMOOTH[..., 0], "one of bayer_rggb8"),
    ("bayer_rggb8; png compressed bgr8", SMOOTH[..., 0], "no colours"),
])
def test_what_the_format_contradicts_is_refused(text: str, pixels: np.ndarray, found: str) -> None:
    with pytest.raises(InputError) as caught:
        decode.decode_compressed_rgb(packed(".png", pixels, format=text))
    assert caught.value.field == "format" and found in str(caught.value)


def test_a_pattern_of_odd_size_is_refused() -> None:
    with pytest.raises(InputError, match="even sizes"):
        decode.decode_compressed_rgb(packed(".png", COLOURS[..., 0], format="bayer_rggb8; png compressed "))


@pytest.mark.parametrize("after", [b"\x1f\x8b\0", b"\0" * 5000, b"\xff" * 7 + b"\0\0",
                                   b"stale \xff\xd8\xff\xe0 bytes" * 400])
@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_bytes_after_the_end_of_a_jpeg_are_ignored(after: bytes, flags: list[int]) -> None:
    file = cv2.imencode(".jpg", SMOOTH, flags)[1].tobytes()
    clean, noisy = (decode.decode_compressed_rgb(SimpleNamespace(format="jpeg", data=d)) for d in (file, file + after))
    np.testing.assert_array_equal(noisy, clean)


def test_motion_jpeg_without_huffman_tables_is_read() -> None:
    whole = short = cv2.imencode(".jpg", SMOOTH)[1].tobytes()
    while (at := short.find(b"\xff\xc4")) >= 0:  # the tables are those of the standard
        short = short[:at] + short[at + 2 + int.from_bytes(short[at + 2:at + 4], "big"):]
    assert len(short) < len(whole) - 400
    rgb, expected = (decode.decode_compressed_rgb(SimpleNamespace(format="jpeg", data=d)) for d in (short, whole))
    np.testing.assert_array_equal(rgb, expected)


def preview(picture: bytes) -> bytes:
    """The same JPEG with another, complete one as a preview in its header."""
    small = cv2.imencode(".jpg", COLOURS)[1].tobytes()
    return picture[:2] + b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small + picture[2:]


@pytest.mark.parametrize("rest", [b"", b"\0" * 100, b"\xff\xd8\xff\xe0 the next one \xff\xd9"])
def test_a_jpeg_without_its_own_end_is_refused(rest: bytes) -> None:
    file = preview(cv2.imencode(".jpg", SMOOTH)[1].tobytes())
    assert decode.decode_compressed_rgb(SimpleNamespace(format="jpeg", data=file)).shape == (48, 64, 3)
    with pytest.raises(InputError, match="without its end"):
        decode.decode_compressed_rgb(SimpleNamespace(format="jpeg", data=file[:-200] + rest))


def png_claiming(width: int, height: int, bits: int) -> bytes:
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5:at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize(("data", "field", "found"), [
    (b"", "data", "unknown first bytes"),
    (b"GIF89a" + bytes(50), "data", "unknown first bytes"),
    (bytes(12) + cv2.imencode(".png", np.ones((4, 4), np.uint16))[1].tobytes(), "data", "unknown first bytes"),
    (cv2.imencode(".png", np.ones((4, 4), np.uint16))[1].tobytes(), "data", "16 bits"),
    (png_claiming(100_000, 100_000, 8), "width", "100000x100000"),
    (png_claiming(4, 4, 8), "data", "broken png"),
    (png_claiming(0, 4, 8), "data", "broken png"),
    (jpeg_claiming(65535, 65535), "width", "65535x65535"),
    (cv2.imencode(".jpg", COLOURS)[1].tobytes()[:-40], "data", "without its end"),
    (b"\xff\xd8\xff\xe0\x00\x10", "data", "broken jpeg"),
    (b"\xff\xd8\xff" + b"\xff" * 90, "data", "broken jpeg"),
])
def test_compressed_refusals(data: bytes, field: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        decode.decode_compressed_rgb(SimpleNamespace(format="jpeg", data=data))
    assert caught.value.field == field
    assert found in str(caught.value)


@settings(deadline=None)
@given(st.data())
def test_damaged_files_decode_or_are_refused(data: st.DataObject) -> None:
    raw = bytearray(packed(data.draw(st.sampled_from([".png", ".jpg"])), COLOURS).data)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        rgb = decode.decode_compressed_rgb(SimpleNamespace(format="", data=bytes(raw)))
    except InputError:
        return
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3


