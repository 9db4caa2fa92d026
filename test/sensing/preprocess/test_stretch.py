# SPDX-License-Identifier: Apache-2.0
"""Images and depth stretched to [0, 1] frame by frame, as in the official code for GDTM."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from admn_ros.config import DepthInput, RgbInput
from admn_ros.errors import InputError
from admn_ros.model.presets import preset, stretched
from admn_ros.sample import Modality
from admn_ros.sensing.preprocess.vision import depth_tensor, rgb_tensor

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(24, 40), (48, 64)])
def test_rgb_is_that_of_opencv(shape: tuple[int, int]) -> None:
    image = RNG.integers(40, 180, (*shape, 3)).astype(np.uint8)
    config = RgbInput(height=24, width=32, stretch=True)
    wide = cv2.normalize(image.astype(np.float32), None, 0, 1, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    resized = cv2.resize(wide, (32, 24), interpolation=cv2.INTER_AREA if shape[0] > 24 else cv2.INTER_LINEAR)
    expected = (resized - np.array(config.mean)) / np.array(config.std)
    found = rgb_tensor(image, config).numpy().transpose(1, 2, 0)
    if shape == (48, 64):  # by area; means are rounded to whole values of the image
        assert np.abs(found - expected).max() < 0.6 / 140 / min(config.std)
    levels = found * np.array(config.std) + np.array(config.mean)
    assert levels.min() > -0.01 and levels.max() < 1.01


def test_depth_is_that_of_opencv_and_invalid_pixels_are_zero() -> None:
    depth = RNG.uniform(1.0, 12.0, (48, 64)).astype(np.float32)
    depth[:8, :8] = np.nan
    depth[0, 0] = np.inf
    config = DepthInput(height=24, width=32, channels=3, stretch=True)
    known = np.where(np.isfinite(depth), depth, 0)
    wide = cv2.normalize(known, None, 0, 1, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    expected = cv2.resize(wide, (32, 24), interpolation=cv2.INTER_AREA)
    found = depth_tensor(depth, config).numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert (found[:, :4, :4] == 0).all()


def test_a_brighter_or_farther_image_is_the_same_image() -> None:
    image = RNG.integers(0, 60, (24, 32, 3)).astype(np.uint8)
    config = RgbInput(height=24, width=32, stretch=True)
    assert np.allclose(rgb_tensor(image, config), rgb_tensor(2 * image + 100, config), atol=1e-5)
    depth = RNG.uniform(1.0, 2.0, (24, 32)).astype(np.float32)
    metric = DepthInput(height=24, width=32)
    scaled = metric.model_copy(update={"stretch": True})
    assert np.allclose(depth_tensor(depth, scaled), depth_tensor(3 * depth + 1, scaled), atol=1e-5)
    assert not np.allclose(depth_tensor(depth, metric), depth_tensor(3 * depth + 1, metric), atol=0.01)


def test_constant_images_become_zero() -> None:
    rgb, depth = RgbInput(height=8, width=8, stretch=True), DepthInput(height=8, width=8, stretch=True)
    levels = rgb_tensor(np.full((8, 8, 3), 90, np.uint8), rgb).numpy()
    assert np.allclose(levels, -np.array(rgb.mean)[:, None, None] / np.array(rgb.std)[:, None, None], atol=1e-3)
    assert (depth_tensor(np.full((8, 8), 3, np.float32), depth).numpy() == 0).all()


def test_every_camera_input_of_a_preset_is_stretched() -> None:
    assert all(preset("gdtm-3").modalities[m].input.stretch is False  # type: ignore[union-attr]
               for m in (Modality.RGB, Modality.DEPTH))
    found = stretched(preset("gdtm-3"))
    assert all(found.modalities[m].input.stretch for m in (Modality.RGB, Modality.DEPTH))  # type: ignore[union-attr]
    assert found.modalities[Modality.RADAR] == preset("gdtm-3").modalities[Modality.RADAR]
    with pytest.raises(InputError, match="relief needs metres"):
        stretched(preset("gdtm-room"))
    with pytest.raises(ValidationError, match="stretch conflicts with relief"):
        DepthInput(relief=True, stretch=True)
