# SPDX-License-Identifier: Apache-2.0
"""Decoding: every encoding on real messages of both libraries, and every refusal."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from admn_ros.errors import InputError
from admn_ros.sensing.decode import images as decode
from admn_ros.sensing.decode.compressed_images import decode_compressed_rgb

STORE = get_typestore(Stores.ROS2_JAZZY)


@dataclass(frozen=True)
class Image:
    """The fields of sensor_msgs/Image that matter."""

    height: int
    width: int
    encoding: str
    step: int
    data: Any
    is_bigendian: int = 0


def image(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """A message as a driver writes it, with `padding` bytes of rubbish after each row."""
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xFF)
    return Image(pixels.shape[0], pixels.shape[1], encoding, rows.shape[1], rows.tobytes(), int(big))


COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = np.full((5, 7, 1), 9, np.uint8)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(("encoding", "stored"), [
    ("rgb8", COLOURS),
    ("bgr8", COLOURS[..., ::-1]),
    ("8UC3", COLOURS[..., ::-1]),
    ("rgba8", np.concatenate([COLOURS, ALPHA], axis=2)),
    ("bgra8", np.concatenate([COLOURS[..., ::-1], ALPHA], axis=2)),
])
def test_colour_comes_out_as_rgb(encoding: str, stored: np.ndarray, padding: int) -> None:
    rgb = decode.decode_rgb(image(stored, encoding, padding))
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, COLOURS)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey_is_repeated(encoding: str) -> None:
    rgb = decode.decode_rgb(image(COLOURS[..., 0], encoding, padding=2))
    np.testing.assert_array_equal(rgb, np.repeat(COLOURS[..., :1], 3, axis=2))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("encoding", "stored"), [
    ("rgb16", COLOURS), ("bgr16", COLOURS[..., ::-1]), ("rgba16", np.concatenate([COLOURS, ALPHA], axis=2)),
    ("bgra16", np.concatenate([COLOURS[..., ::-1], ALPHA], axis=2))])
def test_of_16_bits_the_upper_8_count(encoding: str, stored: np.ndarray, big: bool) -> None:
    rgb = decode.decode_rgb(image(stored.astype(np.uint16) * 256 + 77, encoding, 4, big))
    np.testing.assert_array_equal(rgb, COLOURS)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_their_colour(pattern: str, bits: int) -> None:
    red, green, blue = 200, 120, 40
    cell = np.array([{"r": red, "g": green, "b": blue}[c] for c in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(cell, (4, 5))
    stored = mosaic if bits == 8 else mosaic.astype(np.uint16) * 256
    rgb = decode.decode_rgb(image(stored, f"bayer_{pattern}{bits}", padding=2))
    assert rgb.shape == (8, 10, 3)
    np.testing.assert_array_equal(rgb, np.broadcast_to([red, green, blue], rgb.shape))


@pytest.mark.parametrize(("encoding", "order"), [
    ("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")])
def test_yuv_gives_its_colour(encoding: str, order: str) -> None:
    # ITU-R BT.601, studio range: this is a strong red.
    y, u, v = 81, 90, 240
    cell = np.array([{"y": y, "u": u, "v": v}[c] for c in order], np.uint8).reshape(1, 2, 2)
    rgb = decode.decode_rgb(image(np.tile(cell, (3, 2, 1)), encoding, padding=1))
    assert rgb.shape == (3, 4, 3)
    np.testing.assert_allclose(rgb, np.broadcast_to([255, 0, 0], rgb.shape), atol=3)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 2])
def test_depth_in_metres(big: bool, padding: int) -> None:
    stored = np.array([[0.5, np.nan, np.inf, 0.0], [-np.inf, -1.0, 65.535, 9.25]], np.float32)
    depth = decode.decode_depth(image(stored, "32FC1", padding, big))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.array([[0.5, np.nan, np.nan, np.nan],
                                                   [np.nan, np.nan, 65.535, 9.25]], np.float32))


@pytest.mark.parametrize("encoding", ["16UC1", "mono16"])
@pytest.mark.parametrize("big", [False, True])
def test_depth_in_millimetres(encoding: str, big: bool) -> None:
    stored = np.array([[0, 1, 1500], [256, 65534, 65535]], np.uint16)
    depth = decode.decode_depth(image(stored, encoding, 1, big))
    np.testing.assert_array_equal(depth, np.array([[np.nan, 0.001, 1.5], [0.256, 65.534, np.nan]], np.float32))


def test_radar_outside_the_view_is_zero() -> None:
    stored = np.array([[1.0, np.nan], [-2.0, 4353.0], [-np.inf, 0.0]], np.float32)
    radar = decode.decode_radar(image(stored, "32FC1", 3))
    np.testing.assert_array_equal(radar, np.array([[1, 0], [0, 4353], [0, 0]], np.float32))


def test_radar_that_overflowed_is_refused() -> None:
    with pytest.raises(InputError, match="2 infinite cells"):
        decode.decode_radar(image(np.array([[np.inf, np.inf, 1.0]], np.float32), "32FC1"))


@pytest.mark.parametrize("library", ["rclpy", "rosbags"])
def test_real_messages_of_both_libraries(library: str) -> None:
    millimetres = np.arange(1, 7, dtype=np.uint16).reshape(2, 3)
    if library == "rclpy":
        msgs = pytest.importorskip("sensor_msgs.msg")
        colour, depth = msgs.Image(), msgs.Image()
        for m, e, a in ((colour, "bgr8", COLOURS), (depth, "16UC1", millimetres)):
            m.height, m.width, m.encoding, m.step = a.shape[0], a.shape[1], e, a.nbytes // a.shape[0]
            m.data.frombytes(a.tobytes())
        packed = msgs.CompressedImage(format="png")
        packed.data.frombytes(cv2.imencode(".png", COLOURS)[1].tobytes())
        time = colour.header.stamp
        time.sec, time.nanosec = 3, 4
    else:
        header = STORE.types["std_msgs/msg/Header"](STORE.types["builtin_interfaces/msg/Time"](3, 4), "cam")

        def through_cdr(name: str, message: Any) -> Any:
            return STORE.deserialize_cdr(STORE.serialize_cdr(message, name), name)

        kind = STORE.types["sensor_msgs/msg/Image"]
        colour, depth = (through_cdr("sensor_msgs/msg/Image",
                                     kind(header, a.shape[0], a.shape[1], e, 0, a.nbytes // a.shape[0],
                                          a.reshape(-1).view(np.uint8)))
                         for e, a in (("bgr8", COLOURS), ("16UC1", millimetres)))
        packed = through_cdr("sensor_msgs/msg/CompressedImage", STORE.types["sensor_msgs/msg/CompressedImage"](
            header, "png", cv2.imencode(".png", COLOURS)[1].reshape(-1)))
    np.testing.assert_array_equal(decode.decode_rgb(colour), COLOURS[..., ::-1])
    np.testing.assert_allclose(decode.decode_depth(depth), millimetres / 1000, rtol=1e-6)
    np.testing.assert_array_equal(decode_compressed_rgb(packed), COLOURS[..., ::-1])
    assert decode.stamp_ns(colour.header.stamp) == 3_000_000_004


def test_rgb_is_a_view_not_a_copy() -> None:
    data = np.zeros(12, np.uint8)
    rgb = decode.decode_rgb(Image(2, 2, "rgb8", 6, data))
    assert np.shares_memory(rgb, data)


@pytest.mark.parametrize(("height", "step"), [(5, 0), (1, 0), (1, 7), (1, 99)])
def test_a_step_that_is_not_set_or_has_no_meaning_is_taken_from_the_data(height: int, step: int) -> None:
    pixels = COLOURS[:height]
    np.testing.assert_array_equal(decode.decode_rgb(Image(height, 7, "rgb8", step, pixels.tobytes())), pixels)


class Noted:
    """OpenCV's conversion, and one encoding that only this one knows."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[int, ...], np.dtype, bool]] = []

    def layout(self, encoding: str) -> tuple[np.dtype, int] | None:
        return (np.dtype(np.uint16), 2) if encoding == "two16" else None

    def to_rgb(self, pixels: np.ndarray, encoding: str) -> np.ndarray:
        self.seen.append((encoding, pixels.shape, pixels.dtype, pixels.flags.c_contiguous))
        return pixels[..., [0, 1, 0]] if encoding == "two16" else decode.OPENCV.to_rgb(pixels, encoding)


def test_only_computed_colours_are_left_to_the_conversion() -> None:
    noted, two = Noted(), COLOURS[..., :2].astype(np.uint16) * 256
    grey = np.arange(48, dtype=np.uint16).reshape(4, 12) * 1000
    for encoding, pixels in (("bayer_gbrg16", grey), ("yuv422", COLOURS[:4, :6, :2]), ("rgb16", COLOURS.astype("u2"))):
        msg = image(pixels, encoding, padding=3, big=pixels.itemsize == 2)
        np.testing.assert_array_equal(decode.decode_rgb(msg, noted), decode.decode_rgb(msg))
    np.testing.assert_array_equal(decode.decode_rgb(image(two, "two16", 1, big=True), noted), COLOURS[..., [0, 1, 0]])
    with pytest.raises(InputError, match="nv99"):
        decode.decode_rgb(image(two, "nv99"), noted)
    assert noted.seen == [("bayer_gbrg16", (4, 12), np.dtype(np.uint16), True),
                          ("yuv422", (4, 6, 2), np.dtype(np.uint8), True),
                          ("two16", (5, 7, 2), np.dtype(np.uint16), True)]


def test_a_pattern_of_16_bits_is_converted_before_the_lower_bits_are_dropped() -> None:
    mosaic = np.random.default_rng(3).integers(0, 65536, (8, 10), dtype=np.uint16)
    expected = cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB) >> 8
    np.testing.assert_array_equal(decode.decode_rgb(image(mosaic, "bayer_rggb16")), expected)


GOOD = Image(2, 3, "rgb8", 9, bytes(18))


@pytest.mark.parametrize(("change", "field", "allowed"), [
    ({"encoding": "nv21"}, "encoding", "rgb8, bgr8, rgba8, bgra8, mono8, 8UC3, 8UC1"),
    ({"encoding": "yuv422"}, "width", "even sizes with yuv422"),
    ({"encoding": "bayer_rggb8"}, "width", "even sizes"),
    ({"encoding": "bayer_gbrg16", "width": 2, "height": 1, "data": bytes(9)}, "width", "even sizes"),
    ({"encoding": ""}, "encoding", "rgb8"),
    ({"width": 0}, "width", "at least 1"),
    ({"height": 0}, "height", "at least 1"),
    ({"step": 8}, "step", "at least 9 bytes"),
    ({"step": 0, "data": bytes(24)}, "step", "at least 9 bytes"),
    ({"data": bytes(17)}, "data", "18 bytes"),
    ({"data": bytes(19)}, "data", "18 bytes"),
    ({"data": b""}, "data", "18 bytes"),
    ({"data": [0] * 18}, "data", "bytes"),
    ({"width": 1 << 31, "height": 1 << 31, "step": 3 << 31}, "width", "pixels"),
    ({"width": 8192, "height": 8193, "step": 3 * 8192}, "width", "pixels"),
])
def test_image_refusals(change: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        decode.decode_rgb(replace(GOOD, **change))
    assert caught.value.field == field
    assert allowed in str(caught.value.allowed)


@pytest.mark.parametrize(("decoder", "encoding", "pixels"), [
    (decode.decode_rgb, "rgb8", np.random.default_rng(0).integers(0, 256, (4, 320, 4), dtype=np.uint8)),
    (decode.decode_rgb, "mono8", np.random.default_rng(0).integers(0, 256, (4, 320, 3), dtype=np.uint8)),
    (decode.decode_depth, "16UC1", np.linspace(1, 5, 4 * 320, dtype=np.float32).reshape(4, 320)),
])
def test_a_step_of_pixels_of_another_size_is_refused_unless_it_is_padding(
        decoder: Any, encoding: str, pixels: np.ndarray) -> None:
    msg = image(pixels, encoding)
    with pytest.raises(InputError, match=f"{pixels[0, 0].nbytes} bytes per pixel"):
        decoder(msg)
    size = {"rgb8": 3, "mono8": 1, "16UC1": 2}[encoding]
    rows = np.frombuffer(msg.data, np.uint8).reshape(4, -1).copy()
    rows[:, 320 * size:] = 0
    assert decoder(replace(msg, data=rows.tobytes())).shape[:2] == (4, 320)


@pytest.mark.parametrize(("factor", "big"), [(1000.0, False), (1.0, True), (1e-6, False)])
def test_depth_that_cannot_be_metres_is_refused(factor: float, big: bool) -> None:
    metres = np.full((48, 64), 1.5, np.float32) * np.float32(factor)
    metres[:, :8] = np.nan
    with pytest.raises(InputError, match="metres"):
        decode.decode_depth(replace(image(metres, "32FC1"), is_bigendian=int(big)))
    metres[:24] = 1.5 * 1000 if big else 1.5  # A part may be far away, or noise.
    if not big:
        assert decode.decode_depth(image(metres, "32FC1")).shape == (48, 64)


@pytest.mark.parametrize(("decoder", "encoding", "allowed"), [
    (decode.decode_depth, "16SC1", "32FC1, 16UC1, mono16"),
    (decode.decode_depth, "rgb8", "32FC1, 16UC1, mono16"),
    (decode.decode_radar, "64FC1", "32FC1"),
])
def test_unknown_encodings_name_the_known_ones(decoder: Any, encoding: str, allowed: str) -> None:
    with pytest.raises(InputError) as caught:
        decoder(replace(GOOD, encoding=encoding))
    assert (caught.value.field, caught.value.allowed) == ("encoding", allowed)
    assert encoding in str(caught.value)


numbers = st.integers(0, 40) | st.sampled_from([-1, 2**31, 2**32 - 1])


@settings(deadline=None)
@given(st.builds(Image, height=numbers, width=numbers, step=numbers, is_bigendian=st.integers(0, 255),
                 encoding=st.sampled_from(["rgb8", "mono8", "32FC1", "16UC1", "mono16", "bayer_grbg8", "yuv422", "x"]),
                 data=st.binary(max_size=200)),
       st.sampled_from([decode.decode_rgb, decode.decode_depth, decode.decode_radar]))
def test_any_image_decodes_as_documented_or_is_refused(msg: Image, decoder: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            out = decoder(msg)
        except InputError:
            return
    assert out.shape[:2] == (msg.height, msg.width)
    if decoder is decode.decode_depth:
        assert not np.any(out <= 0)
        assert not np.isinf(out).any()
    if decoder is decode.decode_radar:
        assert np.isfinite(out).all()
        assert (out >= 0).all()


@pytest.mark.parametrize(("sec", "nanosec"), [(0, 0), (-1, 5), (1, 1_000_000_000)])
def test_stamps_that_are_no_time(sec: int, nanosec: int) -> None:
    with pytest.raises(InputError) as caught:
        decode.stamp_ns(SimpleNamespace(sec=sec, nanosec=nanosec))
    assert caught.value.field == "header.stamp"


def test_stamps_are_exact() -> None:
    assert decode.stamp_ns(SimpleNamespace(sec=np.int32(2**31 - 1), nanosec=np.uint32(999_999_999))) == (
        (2**31 - 1) * 10**9 + 999_999_999)


def test_the_room_needs_no_ros() -> None:
    files = list(Path(decode.__file__).parent.glob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            assert not [n for n in names if n.split(".")[0] == "rclpy" or "_msgs" in n or n.startswith("admn_ros.msg")]
