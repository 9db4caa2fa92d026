# SPDX-License-Identifier: Apache-2.0
"""A full disk and a folder that cannot be written: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from admn_ros.cli import main
from admn_ros.config import dump_config
from helpers.disks import full_disk

COMMANDS = {
    "new-model": ["new-model", "{out}", "--preset", "rgbd"],
    "governor-plot": ["governor-plot", "{out}.png"],
    "debug-image": ["debug-image", "{bag}", "{out}.png", "--model", "{model}", "--sensors", "{sensors}"],
    "sheet": ["sheet", "{bag}", "{out}.png"],
    "tracking": ["tracking", "{evaluated_bag}", "--out", "{out}.json"],
    "report compare": ["report", "compare", "{evaluated}", "{evaluated}", "--out", "{out}"],
    "evaluate": ["evaluate", "{dataset}", "--model", "{model}", "--out", "{out}", "--limit", "4"],
    "profile": ["profile", "{out}", "--repeats", "1"],
}


@pytest.fixture
def words(request: pytest.FixtureRequest, deployment, tmp_path: Path, monkeypatch):
    """Return the words of a command that writes to a path."""
    monkeypatch.setenv("ADMN_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").write_text("a file, below which no folder can be")
    dump_config(deployment, tmp_path / "sensors.yaml")

    def fill(name: str, out: Path) -> list[str]:
        found = [word for word in COMMANDS[name] if word.startswith("{")]
        names = {word.strip("{}").split(".")[0].rstrip("}") for word in found} - {"out", "sensors"}
        values = {fixture: request.getfixturevalue(fixture) for fixture in names}
        return [word.format(out=out, sensors=tmp_path / "sensors.yaml", **values) for word in COMMANDS[name]]

    return fill


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "profile"])
def test_a_folder_that_cannot_be_made(name, words, tmp_path, capsys):
    arguments = words(name, tmp_path / "file" / "below")
    before = everything(tmp_path)
    capsys.readouterr()   # of the fixtures
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'file' / 'below'}" in line
    assert "a file in the place of a folder; allowed: a writable folder with space" in line
    assert everything(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("evaluate", "profile")])
def test_a_full_disk(name, words, tmp_path, capsys):
    arguments = words(name, tmp_path / "new" / "out")
    before = everything(tmp_path)
    capsys.readouterr()
    with full_disk(16):
        assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{tmp_path / 'new' / 'out'}" in line and "File too large; allowed: a writable folder with space" in line
    assert everything(tmp_path) == before
    assert main(arguments) == 0, "the way is free for another try"


@pytest.mark.slow
def test_an_evaluation_on_a_full_disk_is_continued(words, tmp_path, capsys):
    arguments = words("evaluate", tmp_path / "out")
    with full_disk(2000):
        assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "File too large; allowed: a writable folder with space" in line
    assert not {"results.json", "report.html"} & set(everything(tmp_path / "out"))
    assert not list(tmp_path.rglob(".partial-*"))
    assert main([*arguments, "--resume"]) == 0


@pytest.mark.slow
def test_a_report_on_a_full_disk_keeps_the_old_one(evaluated, tmp_path, capsys):
    folder = tmp_path / "results"
    shutil.copytree(evaluated, folder)
    before = everything(folder)
    capsys.readouterr()
    with full_disk(16):
        assert main(["report", "make", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "File too large" in line and everything(folder) == before


def test_a_model_on_a_full_disk_keeps_the_old_one(model, words, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / "costs.yaml").write_text("old")
    before = everything(tmp_path / "model")
    with full_disk(20_000):   # enough for all files but the weights
        assert main(["new-model", str(tmp_path / "model"), "--preset", "rgbd", "--force"]) == 2
    assert "File too large" in capsys.readouterr().err and everything(tmp_path / "model") == before


def test_costs_that_can_be_kept_nowhere(model, words, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "model")
    before = everything(tmp_path)
    with full_disk(16):
        assert main(words("profile", tmp_path / "model")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "allowed: a writable folder with space" in line and everything(tmp_path) == before


@pytest.mark.parametrize("name", ["governor-plot", "debug-image", "sheet"])
def test_a_picture_of_another_format_is_refused_at_once(name, words, tmp_path, capsys):
    arguments = [word.replace(".png", ".gif") for word in words(name, tmp_path / "out")]
    assert main(arguments) == 2
    assert "found '.gif'; allowed: a file name that ends in .png" in capsys.readouterr().err


def test_output_to_a_full_disk_and_to_a_reader_that_ends(bag, monkeypatch, capsys):
    def output_to(file: int) -> int:
        with os.fdopen(file, "w") as output:   # closing writes what is left, as the end of the interpreter does
            monkeypatch.setattr(sys, "stdout", output)
            return main(["inspect", str(bag)])

    assert output_to(os.open("/dev/full", os.O_WRONLY)) == 2
    assert capsys.readouterr().err.splitlines() == [
        "admn inspect: output: found No space left on device; allowed: a writable folder with space"]
    reader, output = os.pipe()
    os.close(reader)
    assert (output_to(output), capsys.readouterr().err) == (128 + signal.SIGPIPE, "")
