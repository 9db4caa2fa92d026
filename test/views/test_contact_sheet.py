# SPDX-License-Identifier: Apache-2.0
"""The contact sheet of recordings whose topics have familiar names and other types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.views.contact_sheet import draw_sheet


def test_topics_of_other_types_are_left_out(tmp_path: Path) -> None:
    image = make.rgb_image(np.zeros((8, 8, 3), np.uint8), 1, "rgb")
    for name, topics in (("with", ("/node1/rgb/image_raw", "/node1/audio")), ("without", ("/node1/audio",))):
        with BagWriter(tmp_path / name) as writer:
            for topic in topics:
                writer.write(topic, make.IMAGE, image, 10**9)
    assert draw_sheet(tmp_path / "with", tmp_path / "x.png").stat().st_size > 1000
    with pytest.raises(InputError, match="sensor topics: missing"):
        draw_sheet(tmp_path / "without", tmp_path / "y.png")
    assert not (tmp_path / "y.png").exists()
