# SPDX-License-Identifier: Apache-2.0
"""Every type of input from a recording, offline, through the decoders that the node uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from admn_ros.config import ModelConfig, RadarInput, parse_config
from admn_ros.deployment import MESSAGE_TYPES, DeploymentConfig, RadarGrid
from admn_ros.errors import InputError
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.model.presets import preset
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_writer import BagWriter
from admn_ros.replay.bag_frames import bag_frames, bag_inputs, similar_names
from admn_ros.replay.bag_info import input_stats, input_warnings
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.decode.radar_raster import heatmap_of_points
from helpers.mcap import McapChannel, mcap_bytes

START_NS = 1_700_000_000_000_000_000
# Those of packages that are not ours, with the fields that are read.
FOREIGN = {
    "radar_msgs/msg/RadarReturn": "float32 range\nfloat32 azimuth\nfloat32 elevation\nfloat32 doppler_velocity\n"
                                  "float32 amplitude\n",
    "radar_msgs/msg/RadarScan": "std_msgs/Header header\nradar_msgs/RadarReturn[] returns\n",
    "audio_common_msgs/msg/AudioData": "uint8[] data\n",
    "audio_common_msgs/msg/AudioDataStamped": "std_msgs/Header header\naudio_common_msgs/AudioData audio\n",
}
SENSORS = {
    "node1": {
        "rgb": {"topic": "/jpeg", "type": "compressed_image"},
        "depth": {"topic": "/depth", "type": "compressed_image"},
        "radar": {"topic": "/points", "type": "point_cloud"},
        "audio": {"topic": "/sound", "type": "audio_data", "sound": {"channels": 2}}},
    "node2": {"radar": {"topic": "/scan", "type": "radar_scan", "grid": {"rows": 100}}},
}
POINTS = np.array([[1.0, 0.5, 0.0, 20.0], [2.0, -1.0, 0.0, 30.0]], np.float32)


def store() -> Any:
    types = get_typestore(Stores.ROS2_JAZZY)
    for name, text in FOREIGN.items():
        types.register(get_types_from_msg(text, name))
    return types


def messages(types: Any, stamp_ns: int) -> dict[str, Any]:
    """One message of each topic."""
    header = make.header(stamp_ns, "node")
    packed, scan, hit, sound, data = (types.types[name] for name in (
        MESSAGE_TYPES["compressed_image"], MESSAGE_TYPES["radar_scan"], "radar_msgs/msg/RadarReturn",
        MESSAGE_TYPES["audio_data"], "audio_common_msgs/msg/AudioData"))
    colours, millimetres = np.full((16, 16, 3), 99, np.uint8), np.full((16, 16), 2500, np.uint16)
    depth = np.concatenate([np.zeros(12, np.uint8), cv2.imencode(".png", millimetres)[1].reshape(-1)])
    samples = np.full((1066, 2), 8192, "<i2")
    return {
        "/jpeg": packed(header, "png", cv2.imencode(".png", colours)[1].reshape(-1)),
        "/depth": packed(header, "16UC1; compressedDepth png", depth),
        "/points": make.point_cloud(POINTS, ("x", "y", "z", "snr"), stamp_ns, "node"),
        "/scan": scan(header, [hit(np.float32(2.0), np.float32(-0.5), np.float32(0), np.float32(0), np.float32(12))]),
        "/sound": sound(header, data(samples.reshape(-1).view(np.uint8))),
    }


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    types = store()
    kinds = {entry["topic"]: MESSAGE_TYPES[entry["type"]] for inputs in SENSORS.values() for entry in inputs.values()}
    with Writer(tmp_path / "drive", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=types) for topic, kind in kinds.items()}
        for k in range(4):
            for topic, message in messages(types, START_NS + k * 66_000_000).items():
                writer.write(connections[topic], START_NS + k * 66_000_000,
                             types.serialize_cdr(message, kinds[topic]))
    return tmp_path / "drive"


def deployment(**change: Any) -> DeploymentConfig:
    return parse_config(DeploymentConfig, {"sensors": SENSORS | change}, "types")


def test_all_message_types_are_decoded(bag: Path, config: ModelConfig) -> None:
    radar = config.modalities[Modality.RGB].model_copy(update={"input": RadarInput(height=32, width=32)})
    model = config.model_copy(update={"modalities": {**config.modalities, Modality.RADAR: radar}})
    stream = FrameStream(model, deployment())
    with BagReader(bag) as reader:
        there, lacking = bag_inputs(reader, stream)
        assert len(there) == 5 and not lacking
        frames = [frame for frame, _ in bag_frames(reader, stream, 0.1)]
    assert len(frames) == 4 and not any(h.refused for h in stream.health.values())
    readings = {str(key): reading.data for key, reading in frames[-1].readings.items()}
    assert (readings["node1/rgb"] == 99).all() and (readings["node1/depth"] == 2.5).all()
    np.testing.assert_array_equal(readings["node1/radar"], heatmap_of_points(POINTS, RadarGrid()))
    left = np.array([[2 * np.cos(0.5), 2 * np.sin(0.5), 0, 12]], np.float32)
    np.testing.assert_array_equal(readings["node2/radar"], heatmap_of_points(left, RadarGrid(rows=100)))
    assert readings["node1/audio"].shape[1] == 2
    np.testing.assert_array_equal(readings["node1/audio"][-1066:], 0.25)


def test_poses_of_sensor_nodes_follow_tf_offline(tmp_path: Path) -> None:
    model = preset("gdtm-room")
    places = parse_config(DeploymentConfig, {
        "sensors": {"node1": {"rgb": {"topic": "/rgb"}}}, "frames": {"node1": {"base": "stand"}}}, "places")
    stream = FrameStream(model, places)
    image, turned = np.zeros((8, 8, 3), np.uint8), (0.0, 0.0, 1.0, 0.0)
    with BagWriter(tmp_path / "drive") as writer:
        for k, x in enumerate((1.0, 1.0, 2.0)):
            stamp_ns = START_NS + k * 66_000_000
            if k != 1:
                writer.write("/tf", make.TF, make.static_transforms(
                    [make.Transform("map", "stand", (x, 0.0, 0.5), turned)], stamp_ns), stamp_ns)
            writer.write("/rgb", make.IMAGE, make.rgb_image(image, stamp_ns + 1000, "rgb"), stamp_ns + 1000)
    for _ in range(2):  # each reading begins where the model's file says
        seen = []
        with BagReader(tmp_path / "drive") as reader:
            for _frame, _ in bag_frames(reader, stream, 0.1):
                seen.append(stream.node_poses.poses["node1"].x_m)
        assert seen == [1.0, 1.0, 2.0]
        assert input_stats(stream)["poses_missing"] == {}
        assert abs(stream.node_poses.poses["node1"].yaw_rad) == pytest.approx(np.pi)
        stream.restart()
        assert stream.node_poses.poses == model.node_poses
    assert list(input_warnings(input_stats(stream), {})) == [
        "node1: no transform from map to stand; its pose in the model file is used"]


def test_recorded_calibrations_rectify_offline_as_live(tmp_path: Path, config: ModelConfig) -> None:
    intrinsics = np.array([[20.0, 0, 15.5], [0, 20.0, 15.5], [0, 0, 1]])
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    with BagWriter(tmp_path / "drive") as writer:
        for k, distortion in enumerate(((0.0,) * 5, (-0.3, 0.1, 0.0, 0.0, 0.0), (np.nan,) * 5)):
            stamp_ns = START_NS + k * 66_000_000
            info = make.camera_info(intrinsics, 32, 32, stamp_ns, "lens", distortion=distortion)
            writer.write("/cam/camera_info", make.CAMERA_INFO, info, stamp_ns - 1000)
            writer.write("/cam/image_raw", make.IMAGE, make.rgb_image(picture, stamp_ns, "lens"), stamp_ns)
    cameras = {"node1": {"rgb": {"topic": "/cam/image_raw"}}}
    stream = FrameStream(config, parse_config(DeploymentConfig, {"sensors": cameras}, "cameras"))
    for _ in range(2):  # each reading begins with a camera without calibration
        with BagReader(tmp_path / "drive") as reader:
            frames = [frame for frame, _ in bag_frames(reader, stream, 0.1)]
        seen = [frame.readings[frame.reference].data for frame in frames]
        wanted = cv2.undistort(picture, intrinsics, np.array((-0.3, 0.1, 0.0, 0.0, 0.0)))
        np.testing.assert_array_equal(seen[0], picture)
        assert np.abs(seen[1].astype(int) - wanted).max() <= 8
        np.testing.assert_array_equal(seen[2], seen[1])  # what was in force stays
        stats = input_stats(stream)["inputs"]["node1/rgb"]
        assert stats["calibration"] == "rectified, plumb_bob"
        assert "/cam/camera_info.d: found nan" in stats["calibration_problem"]


def test_calibrations_that_are_none_or_missing_are_named(tmp_path: Path, config: ModelConfig) -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    with BagWriter(tmp_path / "drive") as writer:
        for topic in ("/a/image_raw", "/b/image_raw"):
            writer.write(topic, make.IMAGE, make.rgb_image(picture, START_NS, "lens"), START_NS)
        writer.write("/a/camera_info", make.TEMPERATURE, make.temperature(20.0, START_NS, "lens"), START_NS)
    cameras = {"node1": {"rgb": {"topic": "/a/image_raw"}},
               "node2": {"rgb": {"topic": "/b/image_raw", "camera_info": "/b/info"}}}
    stream = FrameStream(config, parse_config(DeploymentConfig, {"sensors": cameras}, "cameras"))
    with BagReader(tmp_path / "drive") as reader:
        assert len(list(bag_frames(reader, stream, 0.1))) == 1
    expected = "allowed: sensor_msgs/msg/CameraInfo"
    assert list(input_warnings(input_stats(stream), {})) == [
        f"node1/rgb: /a/camera_info.type: found sensor_msgs/msg/Temperature; {expected}",
        f"node2/rgb: /b/info.type: found no messages; {expected}"]


def test_an_input_whose_messages_are_not_of_ros_2_is_named(tmp_path: Path, config: ModelConfig) -> None:
    image = make.typestore().serialize_cdr(make.rgb_image(np.zeros((8, 8, 3), np.uint8), START_NS, "lens"), make.IMAGE)
    (tmp_path / "drive.mcap").write_bytes(mcap_bytes(
        [McapChannel("/a", "foxglove.RawImage", "protobuf", b"1", "protobuf"), McapChannel("/b", make.IMAGE)],
        [("/a", START_NS, b"1"), ("/b", START_NS, bytes(image))]))
    cameras = {"node1": {"rgb": {"topic": "/a"}}, "node2": {"rgb": {"topic": "/b"}}}
    stream = FrameStream(config, parse_config(DeploymentConfig, {"sensors": cameras}, "cameras"))
    with BagReader(tmp_path / "drive.mcap") as reader:
        assert bag_inputs(reader, stream)[1] == ["/a"]
        assert similar_names(reader, stream, "/a") == ["/a (messages in protobuf, described by protobuf)"]


def test_a_topic_of_another_type_than_configured_is_refused(bag: Path, config: ModelConfig) -> None:
    stream = FrameStream(config, deployment(node1={"rgb": {"topic": "/jpeg"}}, node2={"depth": {"topic": "/depth"}}))
    with BagReader(bag) as reader, pytest.raises(
            InputError, match=r"/jpeg.*CompressedImage.*msg/Image, as node1/rgb is configured; or `type: compressed_"):
        bag_inputs(reader, stream)
    assert stream.inputs[SensorKey("node1", Modality.RGB)].type == "image"


@pytest.mark.parametrize(("modality", "kind", "text", "helps"), [
    ("audio", "audio_common_msgs/msg/AudioData", "uint8[] data\n", "AudioData has no stamp; audio_capture publishes"),
    ("rgb", "some_driver_msgs/msg/LidarPackets", "uint8[] data\n", "play these packets through the driver"),
    ("rgb", "std_msgs/msg/String", "string data\n", "as node1/x is configured")])
def test_types_that_no_input_has_are_refused_with_what_helps(tmp_path, config, modality, kind, text, helps):
    types = get_typestore(Stores.ROS2_JAZZY)
    types.register(get_types_from_msg(text, kind))
    with Writer(tmp_path / "drive", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.write(writer.add_connection("/x", kind, typestore=types), START_NS, bytes(12))
    sensors = {"node1": {modality: {"topic": "/x"} | ({"type": "audio_data"} if modality == "audio" else {})}}
    stream = FrameStream(config, parse_config(DeploymentConfig, {"sensors": sensors}, "types"))
    with BagReader(tmp_path / "drive") as reader, pytest.raises(InputError) as refused:
        bag_inputs(reader, stream)
    assert kind in str(refused.value) and helps.replace("/x", f"/{modality}") in str(refused.value)


def test_topics_that_would_fit_are_named(tmp_path, config):
    types = get_typestore(Stores.ROS2_JAZZY)
    with Writer(tmp_path / "drive", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind in (("/x", "std_msgs/msg/String"), ("/cam", "sensor_msgs/msg/CompressedImage")):
            writer.write(writer.add_connection(topic, kind, typestore=types), START_NS, bytes(12))
    stream = FrameStream(config, parse_config(DeploymentConfig, {"sensors": {"node1": {"rgb": {"topic": "/x"}}}}, "t"))
    with BagReader(tmp_path / "drive") as reader, pytest.raises(
            InputError, match=r"; such as /cam \(sensor_msgs/msg/CompressedImage\)$"):
        bag_inputs(reader, stream)
