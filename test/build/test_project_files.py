# SPDX-License-Identifier: Apache-2.0
"""Files for people outside: citation, third-party notices, workflows, container files, licence lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from admn_ros import __version__

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [p for folder in ("admn_ros", "build_support", "examples", "launch", "scripts", "test")
           for p in (ROOT / folder).rglob("*.py")]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_every_source_file_names_its_licence() -> None:
    assert len(SOURCES) > 400
    line = "SPDX-License-Identifier: Apache-2.0"
    assert [p for p in SOURCES if line not in p.read_text(encoding="utf-8")[:200]] == []


def test_the_citation_is_that_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__ and citation["license"] == "Apache-2.0"
    assert {"cff-version", "title", "message", "authors"} <= set(citation)


def test_every_requirement_has_a_notice() -> None:
    lines = (ROOT / "build_support" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = {re.split(r"[\s<>=]", line)[0] for line in lines if line and line[0] != "#"}
    table = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| ([\w-]+) \|", table, re.MULTILINE)) - {"package"} == required


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_workflows_run_targets_that_exist(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step)
            assert set(re.findall(r"\bmake ([\w-]+)", step.get("run", ""))) <= targets


def test_links_of_the_project_files_exist() -> None:
    for name in ("SECURITY.md", "THIRD_PARTY.md", "QUALITY_DECLARATION.md"):
        for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), (name, target)


@pytest.mark.parametrize("path", sorted((ROOT / "docker").glob("*Dockerfile")), ids=lambda p: p.name)
def test_what_container_files_copy_exists(path: Path) -> None:
    copied = re.findall(r"^COPY (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert copied and all((ROOT / name).exists() for name in copied)
