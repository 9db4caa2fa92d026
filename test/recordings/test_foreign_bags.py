# SPDX-License-Identifier: Apache-2.0
"""Bags that other tools wrote: converters from ROS 1, data platforms, other distributions, editors of metadata."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from admn_ros.errors import AdmnError, InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_types import DefinitionError, typestore
from admn_ros.recordings.bag_writer import STORAGES
from admn_ros.replay.ground_truth_sources import read_transforms
from admn_ros.sensing.decode.images import decode_rgb
from helpers.bags import QUARTER, START_NS, small_bag
from helpers.mcap import McapChannel, mcap_bytes

POSES = [(f"/pose{i % 2}", START_NS + i, bytes(typestore().serialize_cdr(
    make.pose_stamped((i, 0, 0), QUARTER, START_NS + i, "map"), make.POSE))) for i in range(6)]
DEFINITION = typestore().generate_msgdef(make.POSE, ros_version=2)[0].encode()
ROS_CHANNELS = [McapChannel(topic, make.POSE, definition=DEFINITION) for topic in ("/pose0", "/pose1")]


def numbers(path: Path) -> list[int]:
    with BagReader(path) as bag:
        return [int(m.pose.position.x) for *_, m in bag.messages()]


def write_with(path: Path, storage: StoragePlugin, store: Typestore, kind: str, message: object) -> Path:
    """Write a bag of one message on /topic whose type is defined by a store."""
    with Writer(path, version=9, storage_plugin=storage) as bag:
        connection = bag.add_connection("/topic", kind, typestore=store)
        bag.write(connection, START_NS, store.serialize_cdr(message, kind))
    return path


def redefined(kind: str, edit: Callable[[str], str]) -> Typestore:
    """Return a store with an edited definition of a type of Jazzy."""
    own, *others = edit(typestore().generate_msgdef(kind, ros_version=2)[0]).split("=" * 80)
    store = get_typestore(Stores.EMPTY)
    types = dict(get_types_from_msg(own, kind))
    for other in others:
        head, text = other.strip().split("\n", 1)
        name = head.removeprefix("MSG: ").strip()
        types |= get_types_from_msg(text, name.replace("/", "/msg/"))
    store.register(types)
    return store


# --- definitions --------------------------------------------------------------------------------------


@pytest.fixture(params=STORAGES.values(), ids=STORAGES)
def storage(request: pytest.FixtureRequest) -> StoragePlugin:
    return request.param


def test_field_names_of_ros_1_are_read_as_those_of_ros_2(tmp_path: Path, storage: StoragePlugin) -> None:
    store = redefined(make.CAMERA_INFO, lambda text: re.sub(r"\b([dkrp])$", lambda m: m[1].upper(), text, flags=re.M))
    assert "float64[9] K" in store.generate_msgdef(make.CAMERA_INFO, ros_version=2)[0]
    k = np.array([[228.0, 0, 160], [0, 229.0, 120], [0, 0, 1]])
    old = make.camera_info(k, 320, 240, START_NS, "a")
    values = {name.upper() if len(name) == 1 else name: value for name, value in vars(old).items()}
    info = store.types[make.CAMERA_INFO](**values)
    with BagReader(write_with(tmp_path / "bag", storage, store, make.CAMERA_INFO, info)) as bag:
        (_, _, found), = bag.messages()
    assert found.k.tolist() == k.reshape(-1).tolist()
    assert found.p.shape == (12,) and found.d.tolist() == [0] * 5 and found.r[0] == 1
    assert found.header.frame_id == "a" and found.roi.width == 0


def without(field: str) -> Callable[[str], str]:
    return lambda text: re.sub(rf"^\S+ {field}$\n", "", text, flags=re.M)


def image_without(store: Typestore, field: str) -> object:
    rgb = make.rgb_image(np.full((4, 6, 3), 7, np.uint8), START_NS, "a")
    fields = {name: getattr(rgb, name) for name in ("header", "height", "width", "encoding", "is_bigendian", "step",
                                                    "data") if name != field}
    return store.types[make.IMAGE](**fields)


@pytest.mark.parametrize("field", ["step", "encoding", "data"])
def test_a_field_that_is_needed_and_not_there(tmp_path: Path, storage: StoragePlugin, field: str) -> None:
    store = redefined(make.IMAGE, without(field))
    path = write_with(tmp_path / "bag", storage, store, make.IMAGE, image_without(store, field))
    with BagReader(path) as bag:
        (_, _, message), = bag.messages()
    with pytest.raises(DefinitionError, match=f"^{path}: /topic: found a definition of {make.IMAGE} without the field "
                                              f"{field}; allowed: {make.IMAGE} with {field}") as caught:
        decode_rgb(message)
    # It concerns the topic, so that nothing that counts refused messages may swallow it.
    assert isinstance(caught.value, AdmnError) and not isinstance(caught.value, InputError)


def test_a_field_that_is_not_needed_may_be_missing(tmp_path: Path, storage: StoragePlugin) -> None:
    store = redefined(make.TEMPERATURE, without("variance"))
    old = make.temperature(60.0, START_NS, "soc")
    message = store.types[make.TEMPERATURE](header=old.header, temperature=60.0)
    with BagReader(write_with(tmp_path / "bag", storage, store, make.TEMPERATURE, message)) as bag:
        (_, _, found), = bag.messages()
    assert found.temperature == 60.0 and not hasattr(found, "variance")


def test_a_field_of_another_kind_counts_as_missing(tmp_path: Path, storage: StoragePlugin) -> None:
    store = redefined(make.TEMPERATURE, lambda text: text.replace("float64 temperature", "string temperature"))
    message = store.types[make.TEMPERATURE](header=make.header(START_NS, "soc"), temperature="warm", variance=0.0)
    with BagReader(write_with(tmp_path / "bag", storage, store, make.TEMPERATURE, message)) as bag:
        (_, _, found), = bag.messages()
        with pytest.raises(DefinitionError, match="without the field temperature"):
            _ = found.temperature


def test_the_transforms_of_ros_1(tmp_path: Path) -> None:
    transforms = make.static_transforms([make.Transform("map", "a", (1, 2, 3), QUARTER)], START_NS)
    definition = typestore().generate_msgdef(make.TF, ros_version=2)[0].encode()
    channel = McapChannel("/tf_static", "tf/tfMessage", definition=definition)
    file, raw = tmp_path / "tf.mcap", bytes(typestore().serialize_cdr(transforms, make.TF))
    file.write_bytes(mcap_bytes([channel], [("/tf_static", START_NS, raw)]))
    with BagReader(file) as bag:
        assert bag.topics["/tf_static"].type == make.TF
        assert read_transforms(bag).at("a", "map", np.array([START_NS])).translation_m.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("kind", ["geometry_msgs/PoseStamped", "geometry_msgs::msg::PoseStamped", make.POSE])
@pytest.mark.parametrize("definition", [
    b"", DEFINITION, DEFINITION.split(b"=" * 80)[0], DEFINITION.replace(b"\n", b"\r\n"), DEFINITION + b"\0",
    DEFINITION.replace(b" ", b"\t").replace(b"MSG:\t", b"MSG: "), DEFINITION + b"=" * 80 + b"\n"])
def test_names_of_types_and_definitions_that_leave_out_parts(tmp_path: Path, kind: str, definition: bytes) -> None:
    channels = [McapChannel(c.topic, kind, "ros2msg" if definition else "", definition) for c in ROS_CHANNELS]
    (tmp_path / "bag.mcap").write_bytes(mcap_bytes(channels, POSES))
    assert numbers(tmp_path / "bag.mcap") == list(range(6))


# --- encodings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["ros2", "", "custom"])
def test_channels_of_other_encodings_are_ignored(tmp_path: Path, profile: str) -> None:
    others = [McapChannel("/events", "Event", "jsonschema", b"{}", "json"),
              McapChannel("/scene", "foxglove.Scene", "protobuf", b"\xff\x80", "protobuf"),
              McapChannel("/raw", "", "", b"", "")]
    messages = [*POSES, *((c.topic, START_NS, b"{}") for c in others)]
    file = tmp_path / "platform.mcap"
    file.write_bytes(mcap_bytes([*others, *ROS_CHANNELS], messages, profile))
    assert numbers(file) == list(range(6))
    with BagReader(file) as bag:
        assert list(bag.topics) == ["/pose0", "/pose1"] and bag.message_count == 6
        assert list(bag.ignored) == ["/events", "/scene", "/raw"]
        assert bag.ignored["/scene"] == "messages in protobuf, described by protobuf"
        with pytest.raises(InputError, match="/events: found messages in json, described by jsonschema; allowed: "
                                             "messages in CDR"):
            next(bag.raw(["/events"]))


def test_a_ros_1_mcap_names_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "old.mcap"
    channel = McapChannel("/pose0", "geometry_msgs/PoseStamped", "ros1msg", DEFINITION, "ros1")
    file.write_bytes(mcap_bytes([channel], [("/pose0", START_NS, b"x")], "ros1"))
    with pytest.raises(InputError, match=r"a ROS 1 recording \(/pose0\); allowed: .*`rosbags-convert`"):
        BagReader(file)


def test_a_file_with_nothing_of_ros(tmp_path: Path) -> None:
    file = tmp_path / "events.mcap"
    file.write_bytes(mcap_bytes([McapChannel("/events", "Event", "jsonschema", b"{}", "json")],
                                [("/events", START_NS, b"{}")], ""))
    with pytest.raises(InputError, match="none of its topics has messages of ROS 2: /events has messages in json"):
        BagReader(file)


def test_an_unindexed_file_out_of_order_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "bag.mcap").write_bytes(mcap_bytes(ROS_CHANNELS, [POSES[i] for i in (3, 0, 5, 4, 1, 2)]))
    assert numbers(tmp_path / "bag.mcap") == list(range(6))


# --- QoS, metadata, schema versions, compression ------------------------------------------------------


@pytest.mark.parametrize("qos", ["", [], None, "]", "- {history: 3", "sensor_data", "- 7", [{"reliability": "odd"}], 5])
@pytest.mark.parametrize("kind", STORAGES)
def test_quality_of_service_is_no_part_of_a_topic(tmp_path: Path, kind: str, qos: object) -> None:
    path = small_bag(tmp_path / "bag", kind)
    metadata = yaml.safe_load((path / "metadata.yaml").read_text())
    (topic,) = metadata["rosbag2_bagfile_information"]["topics_with_message_count"]
    topic["topic_metadata"]["offered_qos_profiles"] = qos
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert numbers(path) == list(range(20))
    with BagReader(path) as bag:
        assert bag.topics["/pose"].reliability == "reliable" and bag.remarks == ()   # as the storage says


@pytest.mark.parametrize("qos", ["", "]", "nonsense", "- {durability: 1, reliability: 2}"])
def test_quality_of_service_in_the_storage(tmp_path: Path, qos: str) -> None:
    channels = [McapChannel(c.topic, c.type, c.schema, c.definition, qos=qos) for c in ROS_CHANNELS]
    (tmp_path / "bag.mcap").write_bytes(mcap_bytes(channels, POSES))
    assert numbers(tmp_path / "bag.mcap") == list(range(6))
    with BagReader(tmp_path / "bag.mcap") as bag:
        expected = (True, "best_effort") if qos.startswith("- ") else (False, None)
        assert (bag.topics["/pose0"].latched, bag.topics["/pose0"].reliability) == expected


@pytest.mark.parametrize("without", [
    ("DROP TABLE message_definitions",), ("DROP TABLE schema", "DROP TABLE metadata"),
    ("ALTER TABLE topics DROP COLUMN type_description_hash",),
    ("DROP TABLE schema", "DROP TABLE metadata", "DROP TABLE message_definitions", "ALTER TABLE topics DROP COLUMN "
     "type_description_hash", "ALTER TABLE topics DROP COLUMN offered_qos_profiles"),
    ("UPDATE schema SET schema_version = 5", "ALTER TABLE messages ADD COLUMN recv_timestamp INTEGER"),
    ("UPDATE message_definitions SET encoding = 'unknown', encoded_message_definition = ''",)])
def test_schema_versions_of_sqlite3(tmp_path: Path, without: tuple[str, ...]) -> None:
    path = small_bag(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(path / "bag.db3") as base:
        for statement in without:
            base.execute(statement)
    assert numbers(path) == numbers(path / "bag.db3") == list(range(20))


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_recordings(tmp_path: Path, storage: StoragePlugin, mode: CompressionMode) -> None:
    path = tmp_path / "bag"
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/pose", make.POSE, typestore=typestore())
        for _, stamp_ns, content in POSES:
            writer.write(connection, stamp_ns, content)
    (file,) = (place for place in path.iterdir() if place.suffix != ".yaml")
    assert numbers(path) == numbers(file) == list(range(6))
    if mode is CompressionMode.FILE:
        file.write_bytes(file.read_bytes()[:-9])
        with pytest.raises(InputError, match="cannot be read"):
            BagReader(path)


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Return a bag of 4 messages whose metadata were edited."""
    bag = small_bag(tmp_path / "edited", "sqlite3", 4)
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    edit(metadata["rosbag2_bagfile_information"])
    (bag / "metadata.yaml").write_text(yaml.dump(metadata, Dumper=yaml.CSafeDumper))
    return bag


@pytest.mark.parametrize("count", [float("inf"), float("nan"), 4.5, -1, None, "many", [4]])
def test_counts_in_the_metadata_that_are_no_numbers(tmp_path: Path, count: object) -> None:
    bag = edited(tmp_path, lambda info: info["topics_with_message_count"][0].update(message_count=count))
    with pytest.raises(InputError, match=r"metadata\.yaml: ValueError: message_count .* a whole number"):
        BagReader(bag)


@pytest.mark.parametrize("files", [None, "edited.db3", [""], [None], [["edited.db3"]], {"a": 1}])
def test_file_names_in_the_metadata_that_are_no_names(tmp_path: Path, files: object) -> None:
    bag = edited(tmp_path, lambda info: info.update(relative_file_paths=files))
    with pytest.raises(InputError, match="relative_file_paths is no list of names"):
        BagReader(bag)


@pytest.mark.parametrize("path", [
    "C:\\bags\\edited\\edited.db3", "edited\\edited.db3", "/home/robot/edited/edited.db3"])
def test_paths_of_the_machine_that_recorded(tmp_path: Path, path: str) -> None:
    with BagReader(edited(tmp_path, lambda info: info.update(relative_file_paths=[path]))) as bag:
        assert (len(list(bag)), bag.remarks) == (4, ())


@pytest.mark.parametrize("text", [
    "", "\n", "rosbag2_bagfile_information:\n", "a: 1", "- 1", "rosbag2_bagfile_information: 3"])
def test_metadata_without_their_content(tmp_path: Path, text: str) -> None:
    bag = small_bag(tmp_path / "bag", "mcap", 4)
    (bag / "metadata.yaml").write_text(text)
    with pytest.raises(InputError, match=r"metadata\.yaml: (an empty file|no rosbag2_bagfile_information)"):
        BagReader(bag)


@pytest.mark.slow
def test_metadata_of_thousands_of_topics(tmp_path: Path) -> None:
    """A recording of everything in a large system: written by a machine, and larger than any hand-written file."""
    def many(info: dict[str, Any]) -> None:
        (first,) = info["topics_with_message_count"]
        for k in range(2500):
            topic = {**first["topic_metadata"], "name": f"/robot/diagnostics/source_{k:0200d}"}
            info["topics_with_message_count"].append({"topic_metadata": topic, "message_count": 0})

    bag = edited(tmp_path, many)
    assert (bag / "metadata.yaml").stat().st_size > 1 << 20   # the limit of hand-written files
    with BagReader(bag) as reader:
        assert len(list(reader)) == 4
