# SPDX-License-Identifier: Apache-2.0
"""Resizing by area: exact means, whatever the type and the sizes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.config import RgbInput
from admn_ros.sensing.preprocess.area import resize_means
from admn_ros.sensing.preprocess.vision import rgb_tensor


def overlaps(old: int, new: int) -> np.ndarray:
    """Return the share (new, old) of each new pixel that each old pixel covers."""
    start, end = np.arange(new) * old / new, (np.arange(new) + 1) * old / new
    shared = np.minimum(end[:, None], np.arange(old) + 1) - np.maximum(start[:, None], np.arange(old))
    return np.maximum(shared, 0) * new / old


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.sampled_from([0, 3]),
       st.sampled_from([np.uint8, np.float32]))
def test_pixels_are_means_over_their_area(rows: int, columns: int, height: int, width: int, channels: int,
                                          kind: type) -> None:
    height, width = min(height, rows), min(width, columns)
    shape = (rows, columns, channels) if channels else (rows, columns)
    pixels = np.random.default_rng(rows * columns).uniform(0, 255, shape).astype(kind)
    expected = np.einsum("hr,rc...,wc->hw...", overlaps(rows, height), pixels.astype(float), overlaps(columns, width))
    found = resize_means(pixels, height, width)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-4)


@pytest.mark.parametrize("rows", [2040, 2041])   # the sums of white rows need 16 bits, and more than 16 bits
def test_sums_do_not_overflow(rows: int) -> None:
    assert (resize_means(np.full((rows, 3), 255, np.uint8), 16, 3) == 255).all()
    np.testing.assert_allclose(resize_means(np.ones((rows, 3), np.uint8), 16, 3, most=1), 1, rtol=1e-6)


def test_a_side_that_grows_is_interpolated() -> None:
    pixels = np.random.default_rng(0).uniform(size=(20, 30)).astype(np.float32)
    np.testing.assert_array_equal(resize_means(pixels, 10, 60),
                                  cv2.resize(pixels, (60, 10), interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("size", [(480, 640), (270, 480), (72, 128), (180, 320), (481, 640)])
def test_images_are_those_of_area_resizing_by_opencv(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = rgb_tensor(image, RgbInput(height=64, width=128, mean=(0, 0, 0), std=(1 / 255,) * 3)).numpy()
    expected = cv2.resize(image, (128, 64), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    assert np.mean(np.abs(found - expected) > 1e-3) < 1e-4   # of means half-way between two integers
    np.testing.assert_allclose(found, expected, atol=1.001)
