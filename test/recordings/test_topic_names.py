# SPDX-License-Identifier: Apache-2.0
"""Topics that an absent one may have been meant to be."""

from __future__ import annotations

import pytest

from admn_ros.recordings.topic_names import similar_topics

IMAGE, PACKED, SOUND = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "admn_ros/msg/AudioFrame"


@pytest.mark.parametrize(("wanted", "there", "found"), [
    ("/cam/image_raw", {"/robot/cam/image_raw": IMAGE, "/x": SOUND}, ["/robot/cam/image_raw (sensor_msgs/msg/Image)"]),
    ("/robot/cam/image_raw", {"/cam/image_raw": IMAGE}, ["/cam/image_raw (sensor_msgs/msg/Image)"]),
    ("/left/cam/image_raw", {"/right/cam/image_raw": IMAGE, "/d": IMAGE},
     ["/right/cam/image_raw (sensor_msgs/msg/Image)"]),
    ("/cam/image_raw", {"/r/cam/image_raw/compressed": PACKED},
     ["/r/cam/image_raw/compressed (sensor_msgs/msg/CompressedImage)"]),
    ("/cam/rgb", {"/front/color": IMAGE, "/mic": SOUND}, ["/front/color (sensor_msgs/msg/Image)"]),
    ("/camera/rgb", {"/cam/rgb": PACKED, "/mic": SOUND}, ["/cam/rgb (sensor_msgs/msg/CompressedImage)"]),
    ("/node1/rgb", {"/taken/node1/rgb": IMAGE}, []), ("/cam/rgb", {"/mic": SOUND}, []),
    ("/a", {f"/{k}/a": IMAGE for k in range(5)}, [f"/{k}/a (sensor_msgs/msg/Image)" for k in range(3)])])
def test_names_of_another_namespace_or_transport_come_before_the_type(
        wanted: str, there: dict[str, str], found: list[str]) -> None:
    assert similar_topics(wanted, IMAGE, there, taken={"/taken/node1/rgb", wanted}) == found
