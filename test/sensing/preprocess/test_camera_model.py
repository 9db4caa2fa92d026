# SPDX-License-Identifier: Apache-2.0
"""Camera calibrations: errors of each field, and rectified images against a pinhole camera."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.config import ModelConfig
from admn_ros.deployment import DeploymentConfig, InputTopic
from admn_ros.errors import InputError
from admn_ros.model.presets import preset
from admn_ros.recordings import bag_messages as make
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.preprocess.camera_calibration import CameraCalibration, calibrations
from admn_ros.sensing.preprocess.camera_model import Rectifier, read_camera_info
from admn_ros.simulation.camera.render import DEPTH_FOV_DEG, RGB_FOV_DEG

WIDTH, HEIGHT = 160, 120
K = np.array([[110.0, 0, 78.0], [0, 112.0, 61.0], [0, 0, 1]])
PLUMB_BOB = (-0.28, 0.08, 0.002, -0.001, 0.0)
quick = settings(max_examples=60, deadline=None)


def info(distortion: Any = (0.0,) * 5, model: str = "plumb_bob", **fields: Any) -> Any:
    message = make.camera_info(K, WIDTH, HEIGHT, 10**9, "lens", distortion=distortion)
    return dataclasses.replace(message, distortion_model=model, **fields)


def region(left: int, top: int, width: int, height: int) -> Any:
    roi = info().roi
    return dataclasses.replace(roi, x_offset=left, y_offset=top, width=width, height=height)


def camera(entry: InputTopic | None = None, trained_deg: float | None = None) -> CameraCalibration:
    return CameraCalibration("/cam/camera_info", entry or InputTopic(topic="/cam/image_raw"), trained_deg)


def spot(x: float, y: float) -> np.ndarray:
    """A picture of one bright spot, some pixels wide."""
    across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    light = 255 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * 1.5**2))
    return np.repeat(light[..., None], 3, axis=2).astype(np.uint8)


def place(picture: np.ndarray) -> np.ndarray:
    """Where the spot is: (x, y)."""
    light = picture[..., 0].astype(np.float64)
    across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.array([(light * across).sum(), (light * down).sum()]) / light.sum()


coefficient = st.floats(-0.12, 0.12)
models = st.one_of(
    st.tuples(st.just("plumb_bob"), st.tuples(coefficient, coefficient, st.floats(-0.01, 0.01),
                                              st.floats(-0.01, 0.01), st.floats(-0.02, 0.02))),
    st.tuples(st.just("rational_polynomial"), st.tuples(*[coefficient] * 2, *[st.floats(-0.01, 0.01)] * 2,
                                                        *[st.floats(-0.05, 0.05)] * 4)),
    st.tuples(st.just("equidistant"), st.tuples(*[st.floats(-0.03, 0.03)] * 4)))


@quick
@given(models, st.floats(-0.38, 0.38), st.floats(-0.28, 0.28))
def test_a_distorted_point_comes_to_where_a_pinhole_sees_it(
        given_model: tuple[str, tuple[float, ...]], x: float, y: float) -> None:
    model, d = given_model
    point = np.array([[[x, y, 1.0]]])
    if model == "equidistant":
        seen, _ = cv2.fisheye.projectPoints(point, np.zeros(3), np.zeros(3), K, np.array(d))
    else:
        seen, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), K, np.array(d))
    expected = (K @ point.reshape(3))[:2]
    rectified = camera_of(d, model).apply(spot(*seen.reshape(2)), "lens")
    assert np.abs(place(rectified) - expected).max() < 1.0


def camera_of(d: tuple[float, ...], model: str) -> CameraCalibration:
    made = camera()
    made.on_message(info(d, model))
    assert not made.problem
    return made


@quick
@given(st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", "made_up", ""]),
       st.integers(0, 14), st.integers(0, 2**32))
def test_without_distortion_the_picture_is_the_same_object(model: str, count: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    made = camera_of((0.0,) * count, model)
    assert made.apply(picture, "lens") is picture
    assert made.state == "no distortion" and not made.problem


def test_maps_of_no_distortion_are_the_identity() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    depth = np.random.default_rng(2).random((HEIGHT, WIDTH), dtype=np.float32)
    for model in ("plumb_bob", "rational_polynomial"):
        rectify = Rectifier(read_camera_info(info((), model)))
        np.testing.assert_array_equal(rectify(picture), picture)
        np.testing.assert_array_equal(rectify(depth), depth)


def test_depth_is_never_mixed_and_nothing_is_seen_beyond_the_lens() -> None:
    depth = np.where(np.arange(WIDTH) < WIDTH / 2, np.float32(1.0), np.float32(3.0))
    depth = np.repeat(depth[None], HEIGHT, axis=0)
    # Pincushion: the rectified picture needs what lies outside of the sensor.
    rectified = camera_of((0.25, 0.0, 0.0, 0.0, 0.0), "plumb_bob").apply(depth, "lens")
    assert set(np.unique(rectified[np.isfinite(rectified)])) == {1.0, 3.0}
    assert np.isnan(rectified).any() and rectified.dtype == np.float32
    colours = camera_of((0.25, 0.0, 0.0, 0.0, 0.0), "plumb_bob").apply(np.full((HEIGHT, WIDTH, 3), 99, np.uint8), "")
    black = colours[..., 0] == 0
    assert black.any() and np.isnan(rectified[black]).all()
    assert np.count_nonzero(np.isnan(rectified) & ~black) < 4 * (WIDTH + HEIGHT)  # the rim, half of which is seen


def test_read_only_pictures_with_padded_rows_are_taken() -> None:
    padded = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH + 8, 3), dtype=np.uint8)
    padded.setflags(write=False)
    made = camera_of(PLUMB_BOB, "plumb_bob")
    np.testing.assert_array_equal(made.apply(padded[:, :WIDTH], "lens"), made.apply(padded[:, :WIDTH].copy(), "lens"))


def test_binning_and_regions_show_the_same_world() -> None:
    full = cv2.GaussianBlur(np.random.default_rng(4).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8), (9, 9), 4)
    whole = camera_of(PLUMB_BOB, "plumb_bob").apply(full, "lens").astype(int)
    cut = camera()
    cut.on_message(info(PLUMB_BOB, roi=region(40, 20, 80, 60)))
    part = cut.apply(full[20:80, 40:120], "lens").astype(int)
    inner = part[10:-10, 10:-10]
    assert np.abs(inner - whole[30:70, 50:110]).max() <= 2
    for message in (info(PLUMB_BOB, binning_x=2, binning_y=2), info(PLUMB_BOB)):  # a driver may forget to say it
        binned = camera()
        binned.on_message(message)
        small = binned.apply(cv2.resize(full, (80, 60), interpolation=cv2.INTER_AREA), "lens").astype(int)
        assert not binned.problem
        expected = cv2.resize(whole.astype(np.uint8), (80, 60), interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(small - expected)[5:-5, 5:-5].mean() < 3


@pytest.mark.parametrize(("change", "field", "allowed"), [
    ({"k": np.zeros(9)}, "k", "positive values; 0 marks an uncalibrated camera"),
    ({"k": np.array([110.0, 0, 78, 0, -1.0, 61, 0, 0, 1])}, "k", "positive"),
    ({"k": np.full(9, np.nan)}, "k", "finite"),
    ({"p": np.full(12, np.inf)}, "p", "finite"),
    ({"d": np.array([np.nan])}, "d", "finite"),
    ({"d": np.array([0.1, 0.2])}, "d", "4 or 5 with plumb_bob"),
    ({"d": np.array([0.1] * 5), "distortion_model": "thin_lens"}, "distortion_model",
     "plumb_bob, rational_polynomial, equidistant"),
    ({"width": 0}, "width", "sides of 1"),
    ({"height": 70_000}, "height", "sides of 1"),
    ({"roi": region(100, 0, 80, 60)}, "roi", "a region of 160x120"),
    ({"roi": region(0, 0, 80, 0)}, "roi", "a region of 160x120"),
    ({"binning_x": 400}, "binning_x", "sides of 1"),
    ({"k": K.T.reshape(-1)}, "k", "transposed"),
    ({"p": np.array([110.0, 0, 78, 0, 0, 112, 61, 0, 0, 0, 0, 0])}, "p", "0, 0, 1"),
    ({"r": np.ones(9)}, "r", "a rotation"),
    ({"r": np.diag((-1.0, 1, 1)).reshape(-1)}, "r", "a rotation"),
])
def test_each_wrong_field_is_one_line_and_the_picture_goes_on(change: dict[str, Any], field: str, allowed: str) -> None:
    message = dataclasses.replace(info(PLUMB_BOB), **change)
    with pytest.raises(InputError):
        read_camera_info(message)
    made, picture = camera(), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    made.on_message(message)
    assert made.apply(picture, "lens") is picture
    assert made.problem.startswith(f"/cam/camera_info.{field}: found ") and allowed in made.problem
    assert "\n" not in made.problem and made.state == "not used"
    made.on_message(info(PLUMB_BOB))  # and it is forgotten with the next good one
    assert made.apply(picture, "lens") is not picture and not made.problem


@pytest.mark.parametrize("change", [
    {"d": np.array([1e6, 1e6, 0, 0, 0])},
    {"p": np.array([11.0, 0, 7.8, 0, 0, 11.2, 6.1, 0, 0, 0, 1, 0])},  # that of an image a tenth as large
    {"k": np.array([0.004, 0, 0.002, 0, 0.004, 0.0015, 0, 0, 1]), "p": np.zeros(12)},  # in metres
    {"distortion_model": "equidistant", "d": np.array([1e5, 0, 0, 0])},
])
def test_a_calibration_that_would_empty_the_pictures_is_not_used(change: dict[str, Any]) -> None:
    made, picture = camera(), spot(30, 30)
    made.on_message(dataclasses.replace(info(PLUMB_BOB), **change))
    for _ in range(2):
        assert made.apply(picture, "lens") is picture
        assert "empty" in made.problem and "\n" not in made.problem and made.state == "not used"
    made.on_message(info(PLUMB_BOB))
    assert made.apply(picture, "lens") is not picture and not made.problem


def test_a_refused_message_leaves_the_calibration_before_it_in_force() -> None:
    made, picture = camera_of(PLUMB_BOB, "plumb_bob"), spot(30, 30)
    before = made.apply(picture, "lens")
    made.on_message(info(PLUMB_BOB, "thin_lens"))
    assert "thin_lens" in made.problem
    np.testing.assert_array_equal(made.apply(picture, "lens"), before)


def test_a_calibration_may_change_while_pictures_come() -> None:
    made, picture = camera_of(PLUMB_BOB, "plumb_bob"), spot(30, 30)
    first = place(made.apply(picture, "lens"))
    made.on_message(info((-0.1, 0.0, 0.0, 0.0, 0.0)))
    second = place(made.apply(picture, "lens"))
    made.on_message(info())
    assert np.abs(first - second).max() > 2
    assert made.apply(picture, "lens") is picture


def test_another_cameras_calibration_is_not_used() -> None:
    made, picture = camera_of(PLUMB_BOB, "plumb_bob"), spot(30, 30)
    assert made.apply(picture, "other_lens") is picture
    assert "header.frame_id" in made.problem and "'other_lens'" in made.problem and made.state == "not used"
    assert made.apply(picture, "/lens") is not picture and not made.problem
    large = np.zeros((HEIGHT + 1, WIDTH, 3), np.uint8)
    assert made.apply(large, "lens") is large
    assert "160x120 for images of 160x121" in made.problem


def test_pictures_that_are_rectified_already_stay_as_they_are() -> None:
    picture = spot(30, 30)
    for entry in (InputTopic(topic="/cam/image_rect_color"), InputTopic(topic="/cam/image", rectified=True),
                  InputTopic(topic="/cam/image_rect/compressed", type="compressed_image")):
        made = camera(entry)
        made.on_message(info(PLUMB_BOB))
        assert made.apply(picture, "lens") is picture and made.state == "already rectified"
    raw = camera(InputTopic(topic="/cam/image_rect", rectified=False))
    raw.on_message(info(PLUMB_BOB))
    assert raw.apply(picture, "lens") is not picture


def test_the_field_of_view_is_compared_with_that_of_the_training() -> None:
    seen = 2 * np.degrees(np.arctan(80 / 110))
    for trained, warned in ((seen + 2, False), (seen + 4, True), (seen - 4, True), (None, False)):
        made = camera(trained_deg=trained)
        made.on_message(info())
        made.apply(np.zeros((HEIGHT, WIDTH), np.float32), "lens")
        assert made.field_of_view_deg == pytest.approx(seen, abs=0.1)
        assert bool(made.problem) == warned
        if warned:
            assert f"degrees; allowed: {trained:g}, which" in made.problem
    # Of a rectified picture it is that of P.
    made = camera()
    wide = info(PLUMB_BOB, p=np.array([55.0, 0, 79.5, 0, 0, 55.0, 59.5, 0, 0, 0, 1, 0]))
    made.on_message(wide)
    made.apply(np.zeros((HEIGHT, WIDTH), np.float32), "lens")
    assert made.field_of_view_deg == pytest.approx(2 * np.degrees(np.arctan(80 / 55)), abs=0.01)


@pytest.mark.parametrize(("entry", "modality", "topic"), [
    ({"topic": "/cam/image_raw"}, "rgb", "/cam/camera_info"),
    ({"topic": "/cam/image_raw/compressed", "type": "compressed_image"}, "rgb", "/cam/camera_info"),
    ({"topic": "/cam/depth/image/compressedDepth", "type": "compressed_image"}, "depth", "/cam/depth/camera_info"),
    ({"topic": "image"}, "rgb", "camera_info"), ({"topic": "~/image"}, "rgb", "~/camera_info"),
    ({"topic": "/jpeg", "type": "compressed_image"}, "rgb", "/camera_info"),
    ({"topic": "/cam/image", "camera_info": "/calibration"}, "depth", "/calibration"),
    ({"topic": "/cam/image", "camera_info": "none"}, "rgb", None),
    ({"topic": "/radar"}, "radar", None), ({"topic": "/sound"}, "audio", None)])
def test_the_calibration_is_looked_for_beside_the_image(entry: dict[str, Any], modality: str,
                                                        topic: str | None) -> None:
    assert InputTopic(**entry).info_topic(Modality(modality)) == topic


def test_only_cameras_are_calibrated() -> None:
    for field in ({"camera_info": "/x"}, {"rectified": True}):
        with pytest.raises(ValueError, match="applies to rgb and depth, not to radar"):
            DeploymentConfig(sensors={"node1": {Modality.RADAR: InputTopic(topic="/radar", **field)}})
    with pytest.raises(ValueError, match="camera_info"):
        InputTopic(topic="/a", camera_info="not a topic")


def test_the_shipped_presets_know_their_cameras() -> None:
    config: ModelConfig = preset("gdtm-room")
    known = {m: config.modalities[m].input.fov_deg for m in (Modality.RGB, Modality.DEPTH)}
    assert known == {Modality.RGB: RGB_FOV_DEG[0], Modality.DEPTH: DEPTH_FOV_DEG[0]}
    inputs = {SensorKey("node1", m): InputTopic(topic=f"/{m}/image") for m in (Modality.RGB, Modality.DEPTH)}
    for made in calibrations(inputs, config).values():
        made.on_message(info())
        made.apply(np.zeros((HEIGHT, WIDTH), np.float32), "lens")
        assert ("which the model was trained with" in made.problem) == (made.topic == "/rgb/camera_info")
