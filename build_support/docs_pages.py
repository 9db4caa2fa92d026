# SPDX-License-Identifier: Apache-2.0
"""Collect the pages of the documentation site: those of the repository, and pages made from the code.

    python build_support/docs_pages.py out/docs

The tree mirrors the repository, so that links work on both.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from admn_ros.cli import parser

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ("admn_ros.inference.model", "admn_ros.inference.engine", "admn_ros.inference.pipeline", "admn_ros.sample",
          "admn_ros.budget.budget", "admn_ros.model.allocation", "admn_ros.model.value.allocation",
          "admn_ros.recordings.bag_reader", "admn_ros.errors")
"""Modules of the public interface."""


def repository_pages(out: Path) -> None:
    """Copy the Markdown files that git knows, and every file that they link to."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pages = [ROOT / name for name in listed if not name.startswith((".github", "test"))]
    files = set(pages)
    for page in pages:
        for target in re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text(encoding="utf-8")):
            files.add((page.parent / target).resolve())
    for file in files:
        if file.is_file():
            copy = out / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
            if file in pages:
                copy.write_text(without_folders(file), encoding="utf-8")


def without_folders(page: Path) -> str:
    """Return the text of a page with links to folders, which a site cannot show, as plain text."""
    def plain(link: re.Match[str]) -> str:
        return link[1] if (page.parent / link[2]).is_dir() else link[0]

    return re.sub(r"\[([^\]]+)\]\((?!https?://)([^)#\s]+)\)", plain, page.read_text(encoding="utf-8"))


def options_page() -> str:
    """Return the help of every command."""
    commands = next(action.choices for action in parser()._actions if action.choices)
    text = ["# Options of every command", ""]
    for name, command in commands.items():
        text += [f"## admn {name}", "", "```text", command.format_help().strip(), "```", ""]
    return "\n".join(text)


def messages_page() -> str:
    """Return the message definitions."""
    text = ["# Messages", ""]
    for file in sorted((ROOT / "msg").glob("*.msg")):
        text += [f"## {file.stem}", "", "```text", file.read_text(encoding="utf-8").strip(), "```", ""]
    return "\n".join(text)


def python_page() -> str:
    """Return the page from which mkdocstrings makes the API reference."""
    return "\n".join(["# Python", "", "`import admn_ros` exports the names of the public interface.", "",
                      *(f"::: {module}\n" for module in PYTHON)])


def main(out: Path) -> None:
    """Write all pages to an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    repository_pages(out)
    (out / "assets").mkdir()
    shutil.copy2(ROOT / "build_support" / "docs_worker.js", out / "assets")
    (out / "reference").mkdir()
    for name, text in (("options", options_page()), ("messages", messages_page()), ("python", python_page())):
        (out / "reference" / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
