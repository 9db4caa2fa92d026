# SPDX-License-Identifier: Apache-2.0
"""Bags that are damaged, odd or empty, through the command: figures with remarks, or one clear line.

Never results that pass for those of a whole recording.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from admn_ros.cli import main
from admn_ros.config import dump_config
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_types import typestore
from admn_ros.recordings.bag_writer import BagWriter
from helpers.mcap import McapChannel, mcap_bytes

pytestmark = pytest.mark.slow

START_NS = 1_700_000_000_000_000_000   # as in conftest.py
STORAGES = ("mcap", "sqlite3")
MCAP_FOOTER = 37   # bytes: the record and the closing magic


class Evaluated:
    """Outcome of the command: exit code, output, and results, if there are any."""

    def __init__(self, code: int, printed: str, errors: str, out: Path) -> None:
        self.code, self.printed, self.errors = code, printed, errors
        results = out / "results.json"
        self.results = json.loads(results.read_text()) if results.is_file() else None

    @property
    def cell(self) -> dict[str, object]:
        (cell,) = self.results["cells"]
        return cell


@pytest.fixture
def run(model: Path, deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Evaluated]:
    dump_config(deployment, tmp_path / "sensors.yaml")

    def evaluate(*bags: Path, options: tuple[str, ...] = (), sensors: Path | None = None) -> Evaluated:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        code = main(["evaluate", *map(str, bags), "--model", str(model), "--out", str(out), "--budgets", "3",
                     "--no-report", "--sensors", str(sensors or tmp_path / "sensors.yaml"), *options])
        printed = capsys.readouterr()
        return Evaluated(code, printed.out, printed.err, out)

    return evaluate


def refused(done: Evaluated, *words: str) -> None:
    """One line with what was found and what is allowed, exit code 2, and nothing that passes for results."""
    lines = [line for line in done.errors.splitlines() if line.strip() and "UNTRAINED" not in line]
    assert done.code == 2 and len(lines) == 1, done.errors
    assert ("found" in lines[0] and "allowed" in lines[0]) or "missing; required" in lines[0]
    assert all(word in lines[0] for word in words), lines[0]
    assert done.results is None


def storage_file(bag: Path) -> Path:
    (file,) = (p for p in bag.iterdir() if p.suffix in (".mcap", ".db3"))
    return file


def change(file: Path, edit: Callable[[bytearray], bytes | bytearray]) -> None:
    file.write_bytes(edit(bytearray(file.read_bytes())))


def zero(data: bytearray, start: int, count: int) -> bytearray:
    data[start:start + count] = bytes(count)
    return data


def summary_start(data: bytes) -> int:
    """Where an MCAP file's summary begins, by its footer."""
    return struct.unpack_from("<Q", data, len(data) - MCAP_FOOTER + 9)[0]


# --- damaged files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 0.6])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_truncated_file(run, write_bag, tmp_path, storage, share):
    bag = write_bag(tmp_path / "cut", storage=storage, ticks=8)
    change(storage_file(bag), lambda data: data[:int(share * len(data))])
    refused(run(bag), "cut", *(("messages fewer",) if storage == "mcap" and share > 0.1 else ()))
    alone = run(storage_file(bag))   # without the metadata that tells what was there
    if storage == "mcap" and share > 0.1:   # as a crashed recorder leaves it
        (source,) = alone.results["source"]["bags"]
        assert alone.code == 0 and 0 < alone.cell["frames"]["n"] < 8
        (remark,) = source["remarks"]
        assert f"WARN cut.mcap: {remark}" in alone.errors and "did not finish" in remark
        size = storage_file(bag).stat().st_size
        assert re.search(rf"read: \d+ of {size} bytes", remark)
    else:
        refused(alone, "cut")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_of_another_format(run, write_bag, tmp_path, storage):
    bag = write_bag(tmp_path / "noise", storage=storage, ticks=2)
    change(storage_file(bag), lambda data: np.random.default_rng(0).bytes(len(data)))
    refused(run(bag), "noise", "cannot be read")


@pytest.mark.parametrize(("how", "jobs"), [
    ({"storage": "mcap"}, 1), ({"storage": "sqlite3"}, 1), ({"compress": True}, 1), ({"storage": "sqlite3"}, 2)])
def test_damage_in_the_middle(run, write_bag, tmp_path, how, jobs):
    bag, good = write_bag(tmp_path / "hole", ticks=16, **how), write_bag(tmp_path / "good", ticks=4)
    change(storage_file(bag), lambda data: zero(data, len(data) // 2 // 4096 * 4096, 8 * 4096))
    refused(run(bag, options=("--jobs", str(jobs), "--corruption", "clean", "gdtm-gaussian")), "hole")
    refused(run(good, bag, options=("--jobs", str(jobs))), "hole")


def test_an_mcap_whose_index_is_damaged(run, write_bag, tmp_path):
    bag = write_bag(tmp_path / "index", ticks=8)
    change(storage_file(bag), lambda data: zero(data, summary_start(data), 200))
    refused(run(bag), "index")


def without_summary(data: bytearray) -> bytes:
    """As a recorder writes it that leaves the summary out: no offsets, no checksum."""
    footer = zero(bytearray(data[-MCAP_FOOTER:]), 9, 20)
    return bytes(data[:summary_start(data)] + footer)


def test_an_mcap_without_summary_is_read_from_end_to_end(run, write_bag, tmp_path):
    source = write_bag(tmp_path / "source", ticks=8)
    with BagReader(source) as old, BagWriter(tmp_path / "plain") as new:
        for topic, stamp_ns, raw in old:   # in the order of time, as recorders write
            new.write_raw(topic, old.topics[topic].type, raw, stamp_ns)
    whole = run(tmp_path / "plain").cell
    change(storage_file(tmp_path / "plain"), without_summary)
    for path in (tmp_path / "plain", storage_file(tmp_path / "plain")):
        done = run(path)
        assert done.code == 0 and done.cell["error_cm"] == whole["error_cm"]
    change(storage_file(source), without_summary)
    done = run(source)   # in another order: sorted
    assert done.code == 0 and done.cell["error_cm"] == whole["error_cm"]


def test_a_sqlite3_whose_index_is_gone(run, write_bag, tmp_path):
    bag = write_bag(tmp_path / "index", storage="sqlite3", ticks=8)
    whole = run(bag).cell
    with sqlite3.connect(storage_file(bag)) as base:
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type='index' AND sql IS NOT NULL").fetchall():
            base.execute(f"DROP INDEX {name}")
    done = run(bag)   # slower to read, and the same
    assert done.code == 0 and done.cell["error_cm"] == whole["error_cm"]


@pytest.mark.parametrize("storage", STORAGES)
def test_lost_messages_are_counted(run, write_bag, tmp_path, storage):
    """The file is sound, but holds less than its metadata counts."""
    bag, short = write_bag(tmp_path / "lost", storage=storage, ticks=12), tmp_path / "lost2"
    with BagReader(bag) as old, BagWriter(short, storage) as new:
        for topic, stamp_ns, raw in old:
            if stamp_ns < START_NS + 500_000_000:
                new.write_raw(topic, old.topics[topic].type, raw, stamp_ns)
    shutil.copyfile(storage_file(short), storage_file(bag))
    refused(run(bag), "lost", "messages fewer than its metadata counts", "ros2 bag reindex")


# --- metadata -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_metadata_that_is_missing_or_wrong(run, write_bag, tmp_path, storage):
    bag = write_bag(tmp_path / "meta", storage=storage, ticks=3)
    text = (bag / "metadata.yaml").read_text()
    refused(run(tmp_path / "nowhere"), "nowhere", "missing; required")
    (bag / "metadata.yaml").unlink()
    refused(run(bag), "meta", "without metadata.yaml", "ros2 bag reindex")
    assert run(storage_file(bag)).code == 0   # the file says all that is needed
    for wrong in ("", "broken: [", "rosbag2_bagfile_information: {}", text.replace("version: 9", "version: 99"),
                  text.replace(storage_file(bag).name, "other.db3"), text.replace("cdr", "xml"), "\x00\x01",
                  text.replace(f"storage_identifier: {storage}", "storage_identifier: tape")):
        (bag / "metadata.yaml").write_text(wrong)
        refused(run(bag), "meta", "cannot be read")


def test_a_folder_that_is_neither_bag_nor_dataset(run, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").touch()
    refused(run(tmp_path / "holiday", options=("--kind", "bag")), "holiday", "metadata.yaml")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    refused(run(tmp_path / "old.bag"), "old.bag", "a ROS 1 bag", "rosbags-convert")


# --- messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_no_messages(run, tmp_path, storage):
    BagWriter(tmp_path / "empty", storage).close()
    refused(run(tmp_path / "empty"), "empty", "0 messages")
    with BagWriter(tmp_path / "silent", storage) as bag:
        for topic in ("/node1/rgb", "/node1/depth"):
            bag.add_topic(topic, make.IMAGE)
        bag.write("/temperature", make.TEMPERATURE, make.temperature(60.0, START_NS, "soc"), START_NS)
    refused(run(tmp_path / "silent"), "silent", "at least one of /node1/rgb")


@pytest.mark.parametrize("storage", STORAGES)
def test_missing_topics_are_reported_and_the_rest_is_evaluated(run, write_bag, tmp_path, storage):
    with BagReader(write_bag(tmp_path / "all", ticks=8)) as old, BagWriter(tmp_path / "some", storage) as new:
        for topic, stamp_ns, raw in old:
            if topic not in ("/node2/audio", "/node1/depth", "/ground_truth/pose"):
                new.write_raw(topic, old.topics[topic].type, raw, stamp_ns)
    done = run(tmp_path / "some")
    (bag,) = done.results["source"]["bags"]
    assert done.code == 0 and bag["topics_missing"] == ["/node1/depth", "/node2/audio"]
    assert "no topic /ground_truth/pose" in bag["why_no_truth"] and done.cell["error_cm"] is None
    assert "omitted" in done.printed and done.cell["frames"]["n"] == 8
    refused(run(tmp_path / "some", options=("--truth", "/ground_truth/pose")), "truth", "/ground_truth/pose")


def write_unknown(path: Path, storage: str, source: Path, topics: tuple[str, ...]) -> Path:
    """A copy of a bag in which some topics have a type that nobody here knows."""
    kind = "robot_msgs/msg/Secret"
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("uint8[] data", kind))
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with BagReader(source) as old, Writer(path, version=9, storage_plugin=plugin) as new:
        connections: dict[str, Connection] = {}
        for topic, stamp_ns, raw in old:
            unknown = topic in topics
            if topic not in connections:
                known = store if unknown else typestore()
                connections[topic] = new.add_connection(topic, kind if unknown else old.topics[topic].type,
                                                        typestore=known)
            new.write(connections[topic], stamp_ns, raw)
    return path


@pytest.mark.parametrize("storage", STORAGES)
def test_unknown_message_types(run, write_bag, tmp_path, storage):
    source = write_bag(tmp_path / "source", ticks=4, extras=True)
    aside = write_unknown(tmp_path / "aside", storage, source, ("/temperature", "/admn/budget"))
    assert run(aside).cell["frames"]["n"] == 4   # what is not asked for may be anything
    without_budgets = run(aside, options=("--recorded-budgets",))
    refused(without_budgets, "aside", "no topic /admn/budget")
    assert not (tmp_path / "out").exists(), "nothing that a next run would have to replace"
    camera = write_unknown(tmp_path / "camera", storage, source, ("/node1/rgb",))
    refused(run(camera), "camera", "/node1/rgb", "robot_msgs/msg/Secret", "sensor_msgs/msg/Image")
    truth = write_unknown(tmp_path / "truth", storage, source, ("/ground_truth/pose",))
    refused(run(truth), "/ground_truth/pose", "robot_msgs/msg/Secret", "geometry_msgs/msg/PoseStamped")


# --- time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_recorded_out_of_order_come_in_order(run, write_bag, tmp_path, storage):
    source = write_bag(tmp_path / "order", storage=storage, ticks=8)
    whole = run(source).cell
    with BagReader(source) as old:
        messages = [(topic, stamp_ns, raw, old.topics[topic].type) for topic, stamp_ns, raw in old]
    shutil.rmtree(source)
    # Of the same instant they stay as they were: nothing else says which came first.
    instants = sorted({stamp_ns for _, stamp_ns, _, _ in messages})
    order = dict(zip(instants, np.random.default_rng(0).permutation(len(instants)), strict=True))
    with BagWriter(source, storage) as new:
        for topic, stamp_ns, raw, kind in sorted(messages, key=lambda m: order[m[1]]):
            new.write_raw(topic, kind, raw, stamp_ns)
    done = run(source)
    assert done.code == 0 and done.cell["error_cm"] == whole["error_cm"]
    (piece,) = done.results["pieces"].values()
    assert piece["resets"] == 0


@pytest.mark.parametrize("storage", STORAGES)
def test_one_message_from_another_time(run, write_bag, tmp_path, storage):
    """A record stamp of 1970 does not make the evaluation wait for half a century; a header stamp of 0 is refused."""
    with BagReader(write_bag(tmp_path / "source", ticks=8)) as old, BagWriter(tmp_path / "odd", storage) as new:
        image = make.rgb_image(np.zeros((24, 24, 3), np.uint8), 0, "node1")
        new.write("/node1/rgb", make.IMAGE, image, 1)
        for topic, stamp_ns, raw in old:
            new.write_raw(topic, old.topics[topic].type, raw, stamp_ns)
    done = run(tmp_path / "odd")
    (piece,) = done.results["pieces"].values()
    assert done.code == 0 and done.cell["frames"]["n"] == 8
    assert piece["inputs"]["node1/rgb"]["refused"] == 1 and "stamp" in piece["inputs"]["node1/rgb"]["last_refusal"]


@pytest.mark.parametrize("storage", STORAGES)
def test_stamps_that_jump_back_reset_the_stream_and_are_reported(run, write_bag, tmp_path, storage):
    """Two drives, the clock set back between them, in one bag."""
    with BagReader(write_bag(tmp_path / "source", ticks=8)) as old, BagWriter(tmp_path / "twice", storage) as new:
        for lap in range(2):
            for topic, stamp_ns, raw in old:
                new.write_raw(topic, old.topics[topic].type, raw, stamp_ns + lap * 10_000_000_000)
    done = run(tmp_path / "twice")
    (piece,) = done.results["pieces"].values()
    assert done.code == 0 and piece["frames"] >= 8
    assert piece["resets"] + sum(i["late"] + i["duplicates"] for i in piece["inputs"].values()) > 0


def test_a_deployment_file_without_matching_topics(run, bag, tmp_path):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"sensors": {"node1": {"rgb": {"topic": "/front/camera"}}}}))
    refused(run(bag, sensors=tmp_path / "other.yaml"), "drive", "at least one of /front/camera", "/node1/rgb")


# --- recordings of other tools ------------------------------------------------------------------------


def test_a_write_ahead_log_is_read_and_stated(run, write_bag, tmp_path):
    """By every command that opens a bag: on the terminal, and in the results."""
    file = storage_file(write_bag(tmp_path / "crashed", storage="sqlite3", ticks=8))
    whole = run(file).cell
    base = sqlite3.connect(file, isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA wal_autocheckpoint=0")
    base.execute("UPDATE messages SET timestamp = timestamp + 1")   # every message is in the log now
    (tmp_path / "copy").mkdir()
    for place in (file, file.with_name(file.name + "-wal")):
        shutil.copyfile(place, tmp_path / "copy" / place.name)
    base.close()
    bag = tmp_path / "copy" / file.name
    done = run(bag)
    (remark,) = done.results["source"]["bags"][0]["remarks"]
    assert done.code == 0 and done.cell["error_cm"] == whole["error_cm"]
    assert "crashed.db3-wal" in remark and f"WARN crashed.db3: {remark}" in done.errors


def test_a_definition_that_lacks_a_field_refuses_the_topic(run, write_bag, tmp_path):
    """The other inputs would give frames: an input that can never be used is not counted away."""
    with BagReader(write_bag(tmp_path / "source", ticks=4)) as old:
        channels = []
        for topic, info in old.topics.items():
            text = typestore().generate_msgdef(info.type, ros_version=2)[0]
            if topic == "/node1/depth":   # the same bytes under another name
                text = text.replace("uint32 step", "uint32 row_bytes")
            channels.append(McapChannel(topic, info.type, definition=text.encode()))
        (tmp_path / "short.mcap").write_bytes(mcap_bytes(channels, old))
    refused(run(tmp_path / "short.mcap"), "short.mcap: /node1/depth",
            "a definition of sensor_msgs/msg/Image without the field step")
