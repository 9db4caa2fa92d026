# SPDX-License-Identifier: Apache-2.0
"""Conversion of images where cv_bridge is missing or broken."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from admn_ros.nodes.perception.image_bridge import colour_conversion
from admn_ros.sensing.decode.images import OPENCV

pytestmark = pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is not None, reason="cv_bridge is installed")


def test_without_cv_bridge_images_are_converted_by_opencv_and_nothing_is_logged() -> None:
    warnings: list[str] = []
    assert colour_conversion(warnings.append) is OPENCV and not warnings


def test_a_cv_bridge_that_cannot_be_loaded_is_named_once_and_opencv_is_used(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv_bridge.py").write_text("raise ImportError('numpy.core.multiarray failed to import')")
    monkeypatch.syspath_prepend(tmp_path)
    warnings: list[str] = []
    assert colour_conversion(warnings.append) is OPENCV
    assert len(warnings) == 1 and "numpy.core.multiarray failed to import" in warnings[0] and "\n" not in warnings[0]
