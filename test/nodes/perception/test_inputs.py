# SPDX-License-Identifier: Apache-2.0
"""Every type of input over real DDS: compressed images and depth, point clouds, and what is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from visualization_msgs.msg import MarkerArray

from admn_ros.config import BackboneConfig, FusionConfig, load_config
from admn_ros.deployment import DeploymentConfig, RadarGrid
from admn_ros.model.checkpoint import create_random_model
from admn_ros.model.presets import preset
from admn_ros.msg import AudioFrame, ModalityAllocation
from admn_ros.nodes import qos
from admn_ros.nodes.conversions import header
from admn_ros.nodes.perception.target_frames import transform_class
from admn_ros.recordings import bag_messages as make
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.decode.images import decode_rgb
from admn_ros.sensing.decode.radar_raster import heatmap_of_points

ROOT = Path(__file__).resolve().parents[3]
CONFIGURE, ACTIVATE = 1, 3
NARROW = BackboneConfig(dim=16, depth=4, heads=2, mlp_ratio=1.0)
POINTS = np.array([[1.0, 0.5, 0.1, 20.0], [2.0, -1.0, 0.0, 30.0]], np.float32)


@pytest.fixture
def deploy(tmp_path: Path):
    def write(inputs: dict, **more: object) -> str:
        path = tmp_path / "types.yaml"
        path.write_text(yaml.safe_dump({"sensors": {"left": inputs}, "budget": {"limit": 8, "unit": "layers"}} | more))
        return str(path)

    return write


def packed(kind: type, stamp_ns: int, **fields: object) -> object:
    """A message with its bytes put in as fast as they can be."""
    data = fields.pop("data")
    message = kind(header=header(stamp_ns, "left"), **fields)
    message.data.frombytes(data)
    return message


def cloud(stamp_ns: int, points: np.ndarray) -> PointCloud2:
    made = make.point_cloud(points, ("x", "y", "z", "intensity"), stamp_ns, "left")
    fields = [PointField(name=f.name, offset=f.offset, datatype=f.datatype, count=f.count) for f in made.fields]
    return packed(PointCloud2, stamp_ns, height=1, width=len(points), fields=fields, point_step=16,
                  row_step=16 * len(points), is_dense=True, data=made.data.tobytes())


def newest(rig, modality: Modality) -> np.ndarray | None:
    return rig.newest(SensorKey("left", modality))


def test_compressed_images_and_point_clouds_become_readings(make_rig, model_folder, deploy):
    rig = make_rig(model=str(model_folder), autostart=True, diagnostics_period_s=0.1, sensors=deploy({
        "rgb": {"topic": "/jpeg", "type": "compressed_image"},
        "depth": {"topic": "/depth/compressedDepth", "type": "compressed_image"},
        "radar": {"topic": "/points", "type": "point_cloud", "grid": {"rows": 64}}}))
    rgb = rig.driver.create_publisher(CompressedImage, "/jpeg", 5)
    depth = rig.driver.create_publisher(CompressedImage, "/depth/compressedDepth", 5)
    radar = rig.driver.create_publisher(PointCloud2, "/points", 5)
    assert rig.wait(lambda: all(p.get_subscription_count() for p in (rgb, depth, radar)))
    colours = np.full((32, 48, 3), (30, 90, 200), np.uint8)
    millimetres = np.full((32, 48), 1500, np.uint16)
    stamp_ns = 10**9
    rgb.publish(packed(CompressedImage, stamp_ns, format="png", data=cv2.imencode(".png", colours)[1].tobytes()))
    depth.publish(packed(CompressedImage, stamp_ns, format="16UC1; compressedDepth png",
                         data=bytes(12) + cv2.imencode(".png", millimetres)[1].tobytes()))
    radar.publish(cloud(stamp_ns, POINTS))
    assert rig.wait(lambda: all(newest(rig, m) is not None for m in (Modality.RGB, Modality.DEPTH, Modality.RADAR)))
    np.testing.assert_array_equal(newest(rig, Modality.RGB), colours[..., ::-1])
    np.testing.assert_array_equal(newest(rig, Modality.DEPTH), np.full((32, 48), 1.5, np.float32))
    expected = heatmap_of_points(POINTS, RadarGrid(rows=64))
    np.testing.assert_array_equal(newest(rig, Modality.RADAR), expected)
    assert rig.wait(lambda: rig.allocation_of(stamp_ns))
    assert rig.wait(lambda: rig.poses)
    # An empty cloud is a reading: the radar is there and sees nothing.
    radar.publish(cloud(stamp_ns + 10**8, POINTS[:0]))
    assert rig.wait(lambda: newest(rig, Modality.RADAR) is not None and not newest(rig, Modality.RADAR).any())
    assert not rig.node.pipeline.frames.health[SensorKey("left", Modality.RADAR)].refused
    # Something else on the topic is refused in words.
    depth.publish(packed(CompressedImage, stamp_ns + 10**8, format="16UC1; compressedDepth rvl", data=bytes(40)))
    health = rig.node.pipeline.frames.health[SensorKey("left", Modality.DEPTH)]
    assert rig.wait(lambda: health.refused)
    assert "left/depth.format" in health.last_error and "rvl" in health.last_error


def test_a_camera_may_send_its_raw_pattern(make_rig, model_folder, deploy):
    rig = make_rig(model=str(model_folder), autostart=True, sensors=deploy({"rgb": {"topic": "/raw"}}))
    camera = rig.driver.create_publisher(Image, "/raw", 5)
    assert rig.wait(camera.get_subscription_count)
    mosaic = np.tile(np.array([[200, 120], [120, 40]], np.uint8), (16, 24))
    message = packed(Image, 10**9, encoding="bayer_rggb8", height=32, width=48, step=48, data=mosaic.tobytes())
    camera.publish(message)
    assert rig.wait(lambda: newest(rig, Modality.RGB) is not None)
    np.testing.assert_array_equal(newest(rig, Modality.RGB), decode_rgb(message))
    assert newest(rig, Modality.RGB)[5, 5].tolist() == [200, 120, 40]


def test_radar_scans_and_stamped_audio_become_readings(make_rig, model_folder, deploy):
    radar_msgs, audio_msgs = (pytest.importorskip(f"{p}.msg") for p in ("radar_msgs", "audio_common_msgs"))
    rig = make_rig(model=str(model_folder), autostart=True, sensors=deploy({
        "radar": {"topic": "/scan", "type": "radar_scan", "grid": {"rows": 64}},
        "audio": {"topic": "/sound", "type": "audio_data", "sound": {"channels": 2}}}))
    radar = rig.driver.create_publisher(radar_msgs.RadarScan, "/scan", 5)
    sound = rig.driver.create_publisher(audio_msgs.AudioDataStamped, "/sound", 5)
    assert rig.wait(lambda: radar.get_subscription_count() and sound.get_subscription_count())
    hit = radar_msgs.RadarReturn(range=2.0, azimuth=-0.5, amplitude=20.0)
    radar.publish(radar_msgs.RadarScan(header=header(10**9, "left"), returns=[hit]))
    message = audio_msgs.AudioDataStamped(header=header(10**9, "left"))
    message.audio.data.frombytes(np.full((1066, 2), 8192, "<i2").tobytes())
    sound.publish(message)
    assert rig.wait(lambda: newest(rig, Modality.RADAR) is not None and newest(rig, Modality.AUDIO) is not None)
    left = np.array([[2 * np.cos(0.5), 2 * np.sin(0.5), 0, 20]], np.float32)
    np.testing.assert_array_equal(newest(rig, Modality.RADAR), heatmap_of_points(left, RadarGrid(rows=64)))
    np.testing.assert_array_equal(newest(rig, Modality.AUDIO)[-1066:], 0.25)


@pytest.mark.parametrize(("modality", "kind", "package"), [
    ("radar", "radar_scan", "radar_msgs"), ("audio", "audio_data", "audio_common_msgs")])
def test_a_type_whose_package_is_not_installed_fails_configuration_and_names_it(
        make_rig, model_folder, deploy, capfd, modality, kind, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed here")
    rig = make_rig(model=str(model_folder), sensors=deploy({modality: {"topic": "/x", "type": kind}}))
    assert not rig.transition(CONFIGURE) and rig.state() == "unconfigured"
    log = capfd.readouterr().err
    assert f"sensors.left.{modality}.type: found {kind}" in log and f"ROS package {package}" in log


def test_the_network_is_told_where_its_sensor_nodes_stand(make_rig, deploy, tmp_path, capfd):
    config = preset("gdtm-room")
    narrow = NARROW.model_copy(update={"points": 4})
    rgb = config.modalities[Modality.RGB].model_copy(update={"backbone": narrow, "adapter_hidden": 16})
    qoi = config.qoi.model_copy(update={"size": 32, "dim": 16, "depth": 1, "heads": 2})
    create_random_model(config.model_copy(update={
        "modalities": {Modality.RGB: rgb}, "fusion": FusionConfig(dim=16, depth=1, heads=2), "qoi": qoi,
        "sensor_nodes": ("left",), "node_poses": {"left": config.node_poses["node1"]}}), tmp_path / "m", seed=0)
    rig = make_rig(model=str(tmp_path / "m"), autostart=True, output_frame="room", diagnostics_period_s=0.2,
                   sensors=deploy({"rgb": {"topic": "/rgb"}}, frames={"left": {"base": "left_base"}}))
    assert rig.wait(lambda: rig.text(": sensor poses").startswith("left: no transform from room to left_base; "))
    assert rig.value(": sensor poses", "left") == "model file"
    camera = rig.driver.create_publisher(Image, "/rgb", 5)
    kind = transform_class()
    if kind is not None:
        publisher = rig.driver.create_publisher(kind, "/tf_static", qos.STATE)
        transform = TransformStamped(header=header(1, "room"), child_frame_id="left_base")
        transform.transform.translation.x, transform.transform.rotation.w = 1.5, 1.0
        publisher.publish(kind(transforms=[transform]))
        assert rig.wait(lambda: rig.node.pipeline.frames.node_poses.poses["left"].x_m == 1.5)
        drawn: list[MarkerArray] = []
        rig.driver.create_subscription(MarkerArray, "/admn/sensor_nodes", drawn.append, qos.STATE)
        assert rig.wait(lambda: drawn and drawn[-1].markers[0].pose.position.x == 1.5)
    assert rig.wait(camera.get_subscription_count)
    camera.publish(packed(Image, 10**9, encoding="rgb8", height=24, width=32, step=96, data=bytes(24 * 96)))
    assert rig.wait(lambda: rig.allocation_of(10**9)) and rig.wait(lambda: rig.poses)
    assert rig.poses[-1].header.frame_id == rig.allocation_of(10**9).header.frame_id == "room"
    log = capfd.readouterr().err
    if kind is None:
        assert log.count("tf2_msgs is not installed") == 1
        assert rig.node.pipeline.frames.node_poses.poses["left"] == config.node_poses["node1"]
    else:
        assert "left: pose from TF: 1.50" in log
        assert rig.wait(lambda: rig.text(": sensor poses") == "all poses are from TF")


@pytest.mark.parametrize("name", ["mmfi", "ave"])
def test_a_clip_of_a_shipped_deployment_becomes_one_frame(make_rig, tmp_path, name):
    # The preset with narrow backbones: the deployment is what is tested.
    config = preset(name)
    parts = {m: c.model_copy(update={"backbone": NARROW, "adapter_hidden": 16}) for m, c in config.modalities.items()}
    qoi = config.qoi.model_copy(update={"size": 32, "dim": 16, "depth": 1, "heads": 2})
    create_random_model(config.model_copy(update={
        "modalities": parts, "fusion": FusionConfig(dim=16, depth=1, heads=2), "qoi": qoi}), tmp_path / name, seed=0)
    rig = make_rig(model=str(tmp_path / name), sensors=name, autostart=True)
    inputs = load_config(DeploymentConfig, ROOT / "config" / f"{name}.yaml").inputs
    outputs = {key: rig.driver.create_publisher(AudioFrame if key.modality is Modality.AUDIO else Image, e.topic, 5)
               for key, e in inputs.items()}
    assert rig.wait(lambda: all(p.get_subscription_count() for p in outputs.values()))

    def clip(stamp_ns: int) -> None:
        for key, output in outputs.items():
            match key.modality:
                case Modality.RGB:
                    output.publish(packed(Image, stamp_ns, encoding="rgb8", height=24, width=32, step=96,
                                          data=bytes(24 * 96)))
                case Modality.DEPTH:
                    output.publish(packed(Image, stamp_ns, encoding="16UC1", height=24, width=32, step=64,
                                          data=np.full((24, 32), 2000, np.uint16).tobytes()))
                case _:
                    output.publish(packed(AudioFrame, stamp_ns, sample_rate=16000, channels=1, encoding="S16LE",
                                          data=bytes(2 * 160_000)))

    # Inputs without a message are not waited for: the first clip is in pieces, and so is one that takes longer than
    # wait_s.
    for stamp_s in range(10, 100, 10):
        clip(stamp_s * 10**9)
        assert rig.wait(lambda: rig.allocation_of(stamp_s * 10**9), 60)  # noqa: B023
        allocation = rig.allocation_of(stamp_s * 10**9)
        if not any(m.missing_nodes for m in allocation.modalities):
            break
    assert allocation.spent == 8.0 and allocation.requested_limit == 12.0
    for m in allocation.modalities:
        assert m.availability == ModalityAllocation.FRESH and not m.missing_nodes and not m.held_nodes
        assert len(m.sensor_nodes) == sum(k.modality.value == m.modality for k in inputs)
    assert rig.wait(lambda: rig.classes) and rig.classes[-1].labels == list(config.classes)
