# SPDX-License-Identifier: Apache-2.0
"""Cameras that say how they are calibrated, over real DDS."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest

from admn_ros.nodes.conversions import header
from admn_ros.nodes.trials.synthetic_messages import image_message
from admn_ros.sample import Modality, SensorKey

K = np.array([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]])
D = (-0.3, 0.1, 0.001, 0.0, 0.0)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RGB, DEPTH = (SensorKey("left", m) for m in (Modality.RGB, Modality.DEPTH))


def info(d: tuple[float, ...] = D, **fields: object) -> CameraInfo:
    known: dict[str, object] = {"header": header(10**9, "camera"), "width": 64, "height": 48,
                                "distortion_model": "plumb_bob", "k": K.reshape(-1)}
    return CameraInfo(**(known | {"d": list(d), "p": np.hstack([K, np.zeros((3, 1))]).reshape(-1)} | fields))


@pytest.fixture
def deploy(tmp_path: Path):
    def write(inputs: dict) -> str:
        path = tmp_path / "cameras.yaml"
        path.write_text(yaml.safe_dump({"sensors": {"left": inputs}, "budget": {"limit": 8, "unit": "layers"}}))
        return str(path)

    return write


def expected(picture: np.ndarray, d: tuple[float, ...] = D) -> np.ndarray:
    return cv2.undistort(picture, K, np.array(d), None, K)


def close(found: np.ndarray | None, wanted: np.ndarray) -> bool:
    """Equal but for rounding of the maps."""
    return found is not None and np.abs(found.astype(int) - wanted.astype(int)).max() <= 8


def test_distorted_images_are_rectified_while_they_come(make_rig, model_folder, deploy):
    rig = make_rig(model=str(model_folder), autostart=True, diagnostics_period_s=0.1, sensors=deploy({
        "rgb": {"topic": "/cam/image_raw"}, "depth": {"topic": "/depth/image_raw", "camera_info": "/calibration"}}))
    rgb, depth = (rig.driver.create_publisher(Image, t, 5) for t in ("/cam/image_raw", "/depth/image_raw"))
    calibration = rig.driver.create_publisher(CameraInfo, "/cam/camera_info", 5)
    latched = rig.driver.create_publisher(CameraInfo, "/calibration", LATCHED)
    assert rig.wait(lambda: all(p.get_subscription_count() for p in (rgb, depth, calibration)))
    colours = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8), (7, 7), 3)
    metres = np.where(np.arange(64) < 16, np.float32(1), np.float32(3)) + np.zeros((48, 1), np.float32)
    stamps = iter(range(1, 10_000))

    def sent(publisher, encoding: str, picture: np.ndarray) -> None:
        message = image_message(encoding, picture)
        message.header = header(10**9 + next(stamps) * 10**7, "camera")
        publisher.publish(message)

    def become(key: SensorKey, publisher, encoding: str, picture: np.ndarray, right) -> bool:
        def once() -> bool:
            sent(publisher, encoding, picture)
            return rig.wait(lambda: right(rig.newest(key)), 0.2)
        return rig.wait(once)

    # Without a calibration images are used unchanged.
    assert become(RGB, rgb, "rgb8", colours, lambda x: x is not None and (x == colours).all())
    calibration.publish(info())
    assert become(RGB, rgb, "rgb8", colours, lambda x: close(x, expected(colours)))
    # The calibration changes, and then becomes invalid.
    calibration.publish(info((-0.1, 0.0, 0.0, 0.0, 0.0)))
    changed = expected(colours, (-0.1, 0.0, 0.0, 0.0, 0.0))
    assert become(RGB, rgb, "rgb8", colours, lambda x: close(x, changed))
    calibration.publish(info(distortion_model="thin_lens"))
    camera = rig.node.pipeline.frames.cameras[RGB]
    assert rig.wait(lambda: camera.problem)
    assert become(RGB, rgb, "rgb8", colours, lambda x: close(x, changed))
    problem = ("/cam/camera_info.distortion_model: found 'thin_lens'; allowed: plumb_bob, rational_polynomial, "
               "equidistant")
    assert become(RGB, rgb, "rgb8", colours, lambda _: rig.text("input left/rgb") == problem)
    calibration.publish(info(()))
    assert become(RGB, rgb, "rgb8", colours, lambda x: x is not None and (x == colours).all())
    # A calibration that was latched before the subscription; depth is never mixed.
    latched.publish(info())
    assert become(DEPTH, depth, "32FC1", metres,
                  lambda x: x is not None and not np.array_equal(x, metres) and set(np.unique(x[x > 0])) == {1.0, 3.0})
    wanted = {"camera_info": "/calibration", "calibration": "rectified, plumb_bob", "calibration_problem": ""}
    assert rig.wait(lambda: (status := rig.status("input left/depth")) is not None
                    and wanted.items() <= {v.key: v.value for v in status.values}.items())
    assert not rig.node.pipeline.frames.health[RGB].refused


def test_a_bad_calibration_stops_no_frame(rig, capfd):
    calibration = rig.driver.create_publisher(CameraInfo, "/left/camera_info", 5)
    assert rig.wait(calibration.get_subscription_count)
    wrong = [info(k=np.zeros(9)), info(k=np.full(9, np.nan)), info(width=0), info(header=header(1, "elsewhere")),
             info(roi=RegionOfInterest(x_offset=60, width=64, height=48)), info(width=63), info((0.1,))]
    camera = rig.node.pipeline.frames.cameras[RGB]
    texts = set()
    for message in wrong:
        calibration.publish(message)
        previous = camera.problem

        def noticed(before: str = previous) -> bool:
            rig.frame()
            return camera.problem != before

        assert rig.wait(noticed)
        assert camera.problem.startswith("/left/camera_info.") and "; allowed: " in camera.problem
        texts.add(camera.problem)
    assert len(texts) == len(wrong)
    assert rig.wait(lambda: "/left/camera_info.d: found 1 values" in rig.text("input left/rgb"))
    assert not rig.node.pipeline.frames.health[RGB].refused
    assert "left/rgb: /left/camera_info" in capfd.readouterr().err


def test_the_topic_follows_the_image_and_can_be_remapped_or_turned_off(make_rig, model_folder, deploy):
    rig = make_rig(model=str(model_folder), sensors=deploy({
        "rgb": {"topic": "image"}, "depth": {"topic": "/depth/image", "camera_info": "none"}}))
    assert rig.transition(1) and rig.transition(3)
    assert {str(k): c.topic for k, c in rig.node.pipeline.frames.cameras.items()} == {"left/rgb": "/camera_info"}
    assert rig.driver.count_subscribers("/camera_info") == 1 and not rig.driver.count_subscribers("/depth/camera_info")
    assert rig.transition(4)
    assert rig.wait(lambda: not rig.driver.count_subscribers("/camera_info"))
