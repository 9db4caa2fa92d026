# SPDX-License-Identifier: Apache-2.0
"""Bags of recorders that crashed, or of which parts were lost: what is there is read, and what is lost is stated."""

from __future__ import annotations

import re
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from admn_ros.errors import InputError
from admn_ros.recordings import bag_messages as make
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.recordings.bag_types import typestore
from admn_ros.recordings.bag_writer import STORAGES
from helpers.bags import QUARTER, START_NS, small_bag
from helpers.mcap import McapChannel, mcap_bytes

Read = tuple[list[int], tuple[str, ...]]


def read(path: Path) -> Read:
    """Return the numbers of the poses, and the remarks."""
    with BagReader(path) as bag:
        numbers = [int(m.pose.position.x) for *_, m in bag.messages()]
        assert bag.message_count == len(numbers)
        return numbers, bag.remarks


def content(folder: Path) -> dict[str, bytes]:
    return {place.name: place.read_bytes() for place in folder.iterdir()}


def storage_file(bag: Path) -> Path:
    (file,) = (place for place in bag.iterdir() if place.suffix != ".yaml")
    return file


def interrupted(tmp_path: Path, pragma: str, edit: Callable[[sqlite3.Connection], object]) -> Path:
    """Return a storage file with 4 messages, copied with what lies beside it while a recorder had it open."""
    source = storage_file(small_bag(tmp_path / "source", "sqlite3", 4))
    (tmp_path / "crashed").mkdir()
    base = sqlite3.connect(source, isolation_level=None)
    base.execute(pragma)
    edit(base)
    for place in source.parent.glob("*.db3*"):
        if not place.name.endswith("-shm"):
            shutil.copyfile(place, tmp_path / "crashed" / place.name)
    base.close()
    return tmp_path / "crashed" / source.name


def insert(base: sqlite3.Connection, first: int, last: int) -> None:
    for i in range(first, last):
        pose = make.pose_stamped((i, 0, 0), QUARTER, START_NS + i, "map")
        base.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (1, ?, ?)",
                     (START_NS + i, typestore().serialize_cdr(pose, make.POSE)))


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A storage file with 4 messages and a write-ahead log with 12 more."""
    return interrupted(tmp_path, "PRAGMA journal_mode=WAL", lambda base: insert(base, 4, 16))


def test_a_write_ahead_log_is_read_and_the_files_stay_as_they_are(logged: Path) -> None:
    before = content(logged.parent)
    assert set(before) == {"source.db3", "source.db3-wal"}
    numbers, (remark,) = read(logged)
    assert numbers == list(range(16))
    assert "did not finish" in remark and "source.db3-wal" in remark
    assert content(logged.parent) == before
    link = logged.parent.parent / "link.db3"
    link.symlink_to(logged)
    assert read(link)[0] == list(range(16))


def test_a_write_ahead_log_that_is_cut_off(logged: Path) -> None:
    wal = logged.with_name("source.db3-wal")
    wal.write_bytes(wal.read_bytes()[:-100])
    numbers, (remark,) = read(logged)
    assert numbers == list(range(15))
    assert re.search(r"[12] of its \d+ pages were not complete", remark)


@pytest.mark.parametrize("damage", [
    lambda data: data[:16] + bytes(8) + data[24:], lambda data: data[:20], lambda data: bytes(32) + data[32:],
    lambda data: bytes(len(data))])   # a file system may leave zeros
def test_a_write_ahead_log_that_cannot_be_used(logged: Path, damage: Callable[[bytes], bytes]) -> None:
    wal = logged.with_name("source.db3-wal")
    wal.write_bytes(damage(wal.read_bytes()))
    with pytest.raises(InputError, match=r"source\.db3-wal: found a write-ahead log"):
        BagReader(logged)


def test_a_journal_undoes_the_transaction_that_was_not_finished(tmp_path: Path) -> None:
    def spill(base: sqlite3.Connection) -> None:
        base.execute("PRAGMA cache_size=5")
        base.execute("BEGIN")
        insert(base, 4, 4000)

    numbers, (remark,) = read(interrupted(tmp_path, "PRAGMA journal_mode=DELETE", spill))
    assert numbers == list(range(4))
    assert "source.db3-journal" in remark


def test_a_storage_file_without_its_own_metadata_is_unfinished(tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path / "bag", "sqlite3"))
    assert read(file) == (list(range(20)), ())
    with sqlite3.connect(file) as base:
        base.execute("DELETE FROM metadata")
    numbers, (remark,) = read(file)
    assert numbers == list(range(20)) and "did not finish" in remark
    with sqlite3.connect(file) as base:
        base.execute("UPDATE schema SET schema_version = 3")   # Humble never writes them
    assert read(file) == (list(range(20)), ())


def test_a_storage_file_with_less_than_its_own_metadata_count(tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path / "bag", "sqlite3"))
    with sqlite3.connect(file) as base:
        base.execute("DELETE FROM messages WHERE id > 15")
    with pytest.raises(InputError, match="5 messages fewer than its metadata counts"):
        BagReader(file)


@pytest.mark.parametrize(("edit", "says"), [
    ("UPDATE messages SET timestamp = 'noon' WHERE id = 2", "record stamp 'noon'"),
    ("UPDATE messages SET timestamp = id + 0.5", "record stamp 4.5"),
    ("UPDATE messages SET data = 'text' WHERE id = 2", "no binary content"),
    ("UPDATE topics SET name = x'ff'", r"topic b'\\xff'"),
    ("UPDATE topics SET type = x'ff'", r"of type b'\\xff'")])
def test_values_of_another_kind_than_their_column(tmp_path: Path, edit: str, says: str) -> None:
    file = storage_file(small_bag(tmp_path / "edited", "sqlite3", 4))
    base = sqlite3.connect(file)
    base.execute(edit)
    base.commit()
    base.close()
    with pytest.raises(InputError, match=says):
        read(file)


def test_a_message_without_a_record_stamp(tmp_path: Path) -> None:
    file = storage_file(small_bag(tmp_path / "edited", "sqlite3", 4))
    base = sqlite3.connect(file)
    base.executescript("CREATE TABLE m (id INTEGER PRIMARY KEY, topic_id, timestamp, data);"
                       "INSERT INTO m SELECT id, topic_id, iif(id = 2, NULL, timestamp), data FROM messages;"
                       "DROP TABLE messages; ALTER TABLE m RENAME TO messages;")
    base.close()
    with pytest.raises(InputError, match="record stamp None"):
        read(file)


@pytest.mark.parametrize("share", [0.4, 0.9])
@pytest.mark.parametrize("tail", [b"", bytes(5000)])   # a file system may leave zeros where data were to come
def test_an_mcap_file_without_an_end(tmp_path: Path, share: float, tail: bytes) -> None:
    file = storage_file(small_bag(tmp_path / "bag", "mcap", 300))
    whole = file.read_bytes()
    file.write_bytes(whole[:int(share * len(whole))] + tail)
    numbers, (remark,) = read(file)
    assert numbers == list(range(len(numbers))) and 100 < len(numbers) <= 300
    assert "did not finish" in remark and f"of {file.stat().st_size} bytes" in remark
    if len(numbers) < 300:
        with pytest.raises(InputError, match=f"{300 - len(numbers)} messages fewer than its metadata counts on /pose"):
            BagReader(file.parent)   # the metadata know what is missing


DATA = bytes(range(41))
MESSAGE_BYTES = 72   # with `DATA`; 9 zeros look like a record without content
POSES = [("/pose", START_NS + i, DATA) for i in range(6)]


def edited_mcap(tmp_path: Path, edit: Callable[[bytearray, int], object]) -> Path:
    """Return an MCAP file without chunks and index; `edit` gets its bytes and where the third message begins."""
    data = bytearray(mcap_bytes([McapChannel("/pose", make.POSE)], POSES))
    edit(data, data.index(struct.pack("<BQ", 5, MESSAGE_BYTES - 9)) + 2 * MESSAGE_BYTES)
    (tmp_path / "bag.mcap").write_bytes(data)
    return tmp_path / "bag.mcap"


def zero_message(data: bytearray, at: int) -> None:
    data[at:at + MESSAGE_BYTES] = bytes(MESSAGE_BYTES)


def too_short_for_its_head(data: bytearray, at: int) -> None:
    data[at + 1:at + 9] = struct.pack("<Q", 21)


@pytest.mark.parametrize("damage", [zero_message, too_short_for_its_head])
def test_a_damaged_message_between_others_is_not_passed_over(tmp_path: Path,
                                                             damage: Callable[[bytearray, int], object]) -> None:
    file = edited_mcap(tmp_path, damage)
    with pytest.raises(InputError, match=r"bag\.mcap: found a bag that cannot be read \(ValueError: a record [05] of"):
        BagReader(file)
    file.write_bytes(file.read_bytes()[:-20])   # without an end, what is before the damage is read
    with BagReader(file) as bag:
        assert list(bag) == POSES[:2] and "a record" in bag.remarks[0]


def test_records_that_are_no_part_of_a_recording_are_passed_over(tmp_path: Path) -> None:
    def insert_others(data: bytearray, at: int) -> None:
        for place in (data.index(struct.pack("<BQ", 15, 4)), at):
            for operation in (0x09, 0x80, 0xFF):   # an attachment, and records of other programs
                data[place:place] = struct.pack("<BQ", operation, 5) + b"\x05\xff\xff\xff\xff"

    with BagReader(edited_mcap(tmp_path, insert_others)) as bag:
        assert list(bag) == POSES and bag.remarks == ()


# --- split bags ---------------------------------------------------------------------------------------


@pytest.fixture(params=STORAGES)
def split(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bag of 15 messages in files of 5."""
    bag = tmp_path / "bag"
    bag.mkdir()
    for number in range(3):
        part = storage_file(small_bag(tmp_path / f"bag_{number}", request.param, 5, first=5 * number))
        part.rename(bag / part.name)
        text = (tmp_path / f"bag_{number}" / "metadata.yaml").read_text()
    metadata = yaml.safe_load(text)
    information = metadata["rosbag2_bagfile_information"]
    suffix = next(bag.iterdir()).suffix
    information["relative_file_paths"] = [f"bag_{number}{suffix}" for number in range(3)]
    information["message_count"] = information["topics_with_message_count"][0]["message_count"] = 15
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return bag


def edit_metadata(bag: Path, edit: Callable[[dict[str, object]], object]) -> None:
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    edit(metadata["rosbag2_bagfile_information"])
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))


def test_split_files_are_read_in_the_order_of_time(split: Path) -> None:
    assert read(split) == (list(range(15)), ())
    edit_metadata(split, lambda m: m["relative_file_paths"].reverse())
    numbers, (remark,) = read(split)
    assert numbers == list(range(15)) and "another order" in remark


def test_a_split_file_that_is_missing(split: Path) -> None:
    names = sorted(place.name for place in split.iterdir())
    edit_metadata(split, lambda m: m.update(relative_file_paths=[names[0], names[2]]))
    with pytest.raises(InputError, match="5 messages fewer"):
        BagReader(split)
    edit_metadata(split, lambda m: m.update(topics_with_message_count=[]))   # as if counted anew
    numbers, remarks = read(split)
    assert numbers == [*range(5), *range(10, 15)]
    assert any(f"does not list {names[1]}" in remark for remark in remarks)
    assert any("number 1 is missing" in remark for remark in remarks)
    (split / names[0]).unlink()
    with pytest.raises(InputError, match=rf"{names[0]} is missing, which metadata\.yaml lists"):
        BagReader(split)


@pytest.mark.parametrize(("names", "missing"), [
    (("a_0", "a_1", "a_2"), ""), (("a_1", "a_2", "a_3"), "number 0 is missing"),
    (("a_0", "a_7", "a_9"), "number 1 to 6, 8 is missing"), (("a_0", "b_5", "b_6"), ""), (("a_0", "a", "a_5"), ""),
    (("a_20240101", "a_20240103", "a_20250101"), ""), (("a_0", "a_1", "a_1700000000000000000"), "")])
def test_gaps_in_the_numbers_of_split_files(split: Path, names: tuple[str, ...], missing: str) -> None:
    files = sorted(place.name for place in split.iterdir() if place.suffix != ".yaml")
    renamed = [f"{name}{Path(files[0]).suffix.upper()}" for name in names]   # as a disk of Windows may give them back
    for file, name in zip(files, renamed, strict=True):
        (split / file).rename(split / name)
    edit_metadata(split, lambda m: m.update(relative_file_paths=renamed, topics_with_message_count=[]))
    (split / f"._{files[0]}").write_bytes(b"note of macOS")
    assert read(split)[1] == ((f"of its split files {missing}",) if missing else ())


def test_files_that_overlap_in_time_are_merged(split: Path, tmp_path: Path) -> None:
    suffix = next(place.suffix for place in split.iterdir() if place.suffix != ".yaml")
    storage = {".mcap": "mcap", ".db3": "sqlite3"}[suffix]
    more = storage_file(small_bag(tmp_path / "more", storage, 10, first=3))
    shutil.copyfile(more, split / f"bag_1{suffix}")
    edit_metadata(split, lambda m: m["topics_with_message_count"][0].update(message_count=20))
    assert read(split)[0] == sorted([*range(5), *range(3, 13), *range(10, 15)])


def test_more_messages_than_the_metadata_count_are_stated(split: Path) -> None:
    edit_metadata(split, lambda m: m["topics_with_message_count"][0].update(message_count=10))
    numbers, (remark,) = read(split)
    assert numbers == list(range(15)) and "5 messages more" in remark
