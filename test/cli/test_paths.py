# SPDX-License-Identifier: Apache-2.0
"""Paths with characters that mean something in a URI, a pattern, a shell, a page, a format or a figure."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import soundfile

from admn_ros.cli import main
from admn_ros.config import dump_config
from admn_ros.datasets.hdf5_stream import Hdf5Stream
from admn_ros.datasets.sound_files import read_sound
from admn_ros.recordings.bag_writer import STORAGES
from admn_ros.recordings.rgbd_folder import convert_rgbd_folder
from helpers.bags import make_bag, small_bag

NAME = "a#b?c=1&d %25 100% 'q' \"Q\" Ü文 <i> {x} [1]* $a$ $HOME ~;|,:=\n\\z"


@pytest.mark.slow
def test_every_command_below_such_a_path(tmp_path, model, deployment, capsys):
    root = tmp_path / NAME
    root.mkdir()
    copy, sensors = root / f"model {NAME}", root / f"{NAME}.yaml"
    shutil.copytree(model, copy)
    dump_config(deployment, sensors)
    of_model = ["--sensors", sensors, "--model", copy]
    made = {copy, sensors}

    def run(*words: object, makes: Path | None = None) -> None:
        assert main(list(map(str, words))) == 0, capsys.readouterr().err
        if makes is not None:
            assert makes.exists()
            made.add(makes)

    run("inspect", copy)
    results = {}
    for storage in STORAGES:
        bag = root / f"{storage} {NAME}"
        made.add(make_bag(bag, storage=storage, ticks=4))
        results[storage] = out = root / f"results {storage} {NAME}"
        run("inspect", bag)
        run("evaluate", bag, *of_model, "--budgets", 3, "--out", out, makes=out)
        assert (out / "report.html").is_file()
    run("debug-image", bag, root / f"{NAME}.png", *of_model, makes=root / f"{NAME}.png")
    assert cv2.imdecode(np.frombuffer((root / f"{NAME}.png").read_bytes(), np.uint8), 1) is not None
    data = root / f"data {NAME}"
    run("convert", "bag", bag, data, *of_model, "--shares", 1, 0, 0, makes=data)
    run("evaluate", data, "--model", copy, "--split", "train", "--budgets", 3, "--no-report", "--out", root / "again",
        makes=root / "again")
    run("report", "make", results["mcap"])
    run("report", "compare", *results.values())
    run("tracking", results["mcap"])
    assert {place.name for place in root.iterdir()} == {place.name for place in made}
    assert [place.name for place in tmp_path.iterdir()] == [NAME]


def test_a_sheet_below_such_a_path(tmp_path):
    root = tmp_path / NAME
    root.mkdir()
    (root / "camera-intrinsics.txt").write_text("200 0 8\n0 200 6\n0 0 1\n")
    images = {"color.png": np.zeros((12, 16, 3), np.uint8), "depth.png": np.full((12, 16), 900, np.uint16)}
    for name, image in images.items():
        (root / f"frame-000000.{name}").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (root / "frame-000000.pose.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    convert_rgbd_folder(root, root / f"bag {NAME}", storage="sqlite3")
    assert main(["sheet", str(root / f"bag {NAME}"), str(root / f"{NAME}.png")]) == 0
    assert (root / f"{NAME}.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_that_is_not_utf_8(tmp_path, capsys):
    bag = small_bag(tmp_path / os.fsdecode(b"latin-\xe9"))
    assert main(["inspect", str(bag)]) == 0
    assert "latin-\\udce9: 20 messages" in capsys.readouterr().out


@pytest.mark.parametrize("name", [NAME, os.fsdecode(b"latin-\xe9")])
def test_sound_and_hdf5_files(tmp_path, name):
    with (tmp_path / f"{name}.wav").open("wb") as file:
        soundfile.write(file, np.full(160, 0.5), 16000, format="WAV")
    samples, rate_hz = read_sound(tmp_path / f"{name}.wav")
    assert samples.shape == (160, 1) and rate_hz == 16000
    with h5py.File(tmp_path / f"{name}.h5", "w") as file:
        file["1700000000000/x"] = np.arange(3)
    assert Hdf5Stream(tmp_path / f"{name}.h5").times_ms.tolist() == [1700000000000]
