# SPDX-License-Identifier: Apache-2.0
"""README and docs: links, command lines and code blocks.

Command lines of `admn` are parsed with the parser of the command, Python is compiled, YAML is loaded. Some blocks are
also run (`test_documented_commands.py`). Programs in `examples/` are run by their own tests.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from admn_ros.cli import parser
from admn_ros.config import ModelConfig, Strict, parse_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import AdmnError

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")),
         *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
         *sorted(ROOT.glob("models/**/README.md")), *sorted(ROOT.glob("examples/*.md"))]
LINES = 150
"""Most lines of the README."""
PLACEHOLDERS = {"X": "1", "N": "1", "TIME": "1"}
"""Words that stand for numbers."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, code in re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        if language in languages:
            yield code


def command_lines(page: Path) -> list[list[str]]:
    """Words of each line that begins with `admn`, without prompt, comment and redirection."""
    found = []
    for code in blocks(page, "", "bash", "console"):
        for line in code.replace("\\\n", " ").splitlines():
            if (match := re.match(r"^(?:\$ )?(?:\.venv/bin/)?admn (.*)", line.strip())) is not None:
                words = shlex.split(match[1], comments=True)
                words = words[:next((i for i, word in enumerate(words) if word in ("|", ">", "&&", "...")), len(words))]
                found.append([PLACEHOLDERS.get(word, word) for word in words])
    return found


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_command_lines_are_those_of_the_parser(page: Path) -> None:
    for words in command_lines(page):
        try:
            parser().parse_args(words)
        except SystemExit as done:
            assert done.code == 0, words
        except AdmnError as error:
            pytest.fail(f"admn {shlex.join(words)}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_compiles_and_yaml_loads(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, name(page), "exec")
    for code in blocks(page, "yaml"):
        yaml.safe_load(code)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_complete_files_are_valid(page: Path) -> None:
    """A YAML block with a file name is a whole file; that of a modality to be added is not known here."""
    text = page.read_text(encoding="utf-8")
    for title, code in re.findall(r'^```yaml title="([^"]+)"\n(.*?)^```', text, re.M | re.S):
        if title.startswith((".github", "thermal")):
            continue
        kind: type[Strict] = ModelConfig if title.endswith("_model.yaml") else DeploymentConfig
        parse_config(kind, yaml.safe_load(code), title)


def test_the_pages_have_commands() -> None:
    assert sum(len(command_lines(page)) for page in PAGES) > 30


def test_the_readme_is_short_and_every_page_is_linked_from_it() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    linked = set(re.findall(r"\]\(docs/([\w.]+\.md)", text))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} == linked


def test_every_tutorial_is_listed() -> None:
    folder = ROOT / "docs" / "tutorials"
    linked = set(re.findall(r"^\| \[.*?\]\((\w+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"), re.M))
    assert {page.name for page in folder.glob("*.md")} == linked | {"README.md"}


def test_every_command_is_documented() -> None:
    table = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    subcommands = next(action.choices for action in parser()._actions if action.choices)
    assert {str(command) for command in subcommands} <= set(re.findall(r"admn ([a-z-]+)", table))
