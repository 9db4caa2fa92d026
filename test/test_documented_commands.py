# SPDX-License-Identifier: Apache-2.0
"""Commands of README and docs are run as they are written, where a comment above their code block asks for it.

The comment is `run by test_documented_commands.py`, and ends with `, nightly` where the block takes long. Lines of
other programs are left out. Each block has a folder with the files that its page takes for granted, and those that
the page shows under a title. The blocks of a tutorial run one after another.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from admn_ros.cli import main
from helpers.demo_recording import DEMO_BAG

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("models/**/README.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^<!-- run by test_documented_commands\.py(, nightly)? -->\n```\w*\n(.*?)^```", re.M | re.S)


class Block(NamedTuple):
    """A code block that is run, or all of a tutorial."""

    page: str
    nightly: bool
    commands: tuple[str, ...]


def blocks(pages: Sequence[Path] = (*PAGES, *TUTORIALS)) -> Iterator[Block]:
    for page in pages:
        found = []
        for nightly, code in BLOCK.findall(page.read_text(encoding="utf-8")):
            lines = (line.strip().removeprefix("$ ") for line in code.replace("\\\n", " ").splitlines())
            found.append(Block(str(page.relative_to(ROOT)), bool(nightly),
                               tuple(line.removeprefix("admn ") for line in lines if line.startswith("admn "))))
        if page in TUTORIALS and found:
            yield Block(found[0].page, True, tuple(command for each in found for command in each.commands))
        else:
            yield from found


def parameters() -> list[object]:
    return [pytest.param(each, id=f"{each.page}-{each.commands[0].split()[0]}",
                         marks=[pytest.mark.nightly, pytest.mark.timeout(1800)] if each.nightly else pytest.mark.slow)
            for each in blocks()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: Block) -> Path:
    """A folder with what a checkout has, a recording `BAG`, its deployment file `my.yaml`, and a model folder `DIR`.

    It has a dataset `data/room` where `block` uses one.
    """
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "BAG").symlink_to(DEMO_BAG)
    for copy in ("models/gdtm", "models/mine", "DIR"):   # commands may write into them
        shutil.copytree(ROOT / "models" / "gdtm", tmp_path / copy)
    shutil.copy(ROOT / "config" / "demo.yaml", tmp_path / "my.yaml")
    for name in ("day", "night", "rain"):
        (tmp_path / "bags").mkdir(exist_ok=True)
        (tmp_path / "bags" / name).symlink_to(DEMO_BAG)
    for title, code in re.findall(r'^```\w+ title="([\w.]+)"\n(.*?)^```', (ROOT / block.page).read_text(), re.M | re.S):
        (tmp_path / title).write_text(code)
    monkeypatch.chdir(tmp_path)
    if any("data/room" in command for command in block.commands):
        assert main(["convert", "bag", "BAG", "data/room", "--sensors", "my.yaml", "--model", "models/gdtm"]) == 0
    return tmp_path


@pytest.mark.parametrize("block", parameters())
def test_the_commands_of_a_block_succeed(block: Block, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in block.commands:
        words = [word.removesuffix("...") for word in shlex.split(command, comments=True)]
        assert main(words) == 0, f"admn {command}: {capsys.readouterr().err}"


def test_pages_have_blocks_that_are_run() -> None:
    found = list(blocks())
    assert all(each.commands for each in found)
    assert {each.nightly for each in found} == {False, True}
    marked = sum(page.read_text(encoding="utf-8").count("<!-- run by") for page in PAGES)
    assert len(list(blocks(PAGES))) == marked   # no comment is misspelt
