# SPDX-License-Identifier: Apache-2.0
"""Parameter files of the governor: those of ROS 2 and plain ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from admn_ros.errors import ConfigError
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.parameter_file import NODE_ONLY, read_governor

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "governor.yaml"


def read(tmp_path: Path, text: str) -> GovernorConfig:
    (tmp_path / "law.yaml").write_text(text)
    return read_governor(tmp_path / "law.yaml")


def test_the_shipped_file_has_the_defaults() -> None:
    assert read_governor(SHIPPED) == GovernorConfig()


@pytest.mark.parametrize("text", [
    "target_c: 60",
    "{target_c: 60, priority: 3, model: gdtm, qos_overrides.topic.publisher.depth: 3}",
    "/**: {ros__parameters: {target_c: 60, use_sim_time: true, qos_overrides: {/a: {publisher: {depth: 1}}}}}",
    "admn_governor: {ros__parameters: {target_c: 60}}",
    "/robot/admn_governor: {ros__parameters: {target_c: 60}}",
    "robot: {admn_governor: {ros__parameters: {target_c: 60}}}",
    "/**: {ros__parameters: {target_c: 60, sensors: gdtm, budget_limit: 3, sync: {silent_s: 1}, robot_description: x}}",
    "/*/admn_governor: {ros__parameters: {target_c: 60}}",
    "/**: {ros__parameters: {target_c: 50}}\n/admn_governor: {ros__parameters: {target_c: 60}}",
    "/admn: {ros__parameters: {sensors: gdtm}}\n/**/admn_governor: {ros__parameters: {target_c: 60}}",
])
def test_a_section_of_the_governor_is_read(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == GovernorConfig(target_c=60.0)


def test_a_section_adds_to_that_of_all_nodes(tmp_path: Path) -> None:
    own = "admn_governor: {ros__parameters: {limit_c: 90}}"
    general = "/**: {ros__parameters: {target_c: 60, limit_c: 80}}"
    assert read(tmp_path, f"{general}\n{own}") == GovernorConfig(target_c=60.0, limit_c=90.0)
    assert read(tmp_path, f"{own}\n{general}") == GovernorConfig(target_c=60.0, limit_c=80.0)   # as in ROS


@pytest.mark.parametrize(("text", "says"), [
    ("admn_governor: {ros__parameters: {target: 60}}", "law.yaml: target: found an unknown key; allowed: default_"),
    ("/**: {ros__parameters: {battery_low_layer: 3}}", "law.yaml: battery_low_layer: found an unknown key"),
    ("/**: {ros__parameters: {model: gdtm, sensors: gdtm}}", "law.yaml: /**: found parameters of other nodes alone"),
    ("/**: {ros__parameters: {target_c: warm}}", "law.yaml: target_c: found 'warm'"),
    ("/admn: {ros__parameters: {target_c: 60}}", "law.yaml: found sections of /admn; allowed: a section /** or "),
    ("/a/admn_governor: {ros__parameters: {}}\n/b/admn_governor: {ros__parameters: {}}",
     "law.yaml: found sections /a/admn_governor and /b/admn_governor; allowed: one section of admn_governor"),
    ("/**: {ros__parameters: }", "law.yaml: /**: found nothing; allowed: ros__parameters with a mapping"),
    ("/**: {ros__parameters: {}}\ntarget_c: 60", "law.yaml: target_c: found nothing; allowed: ros__parameters"),
    ("/**: {ros__parameters: 3}", "law.yaml: /**: found int; allowed: ros__parameters with a mapping"),
])
def test_other_files_are_refused(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        read(tmp_path, text)


def test_parameters_are_those_of_the_node() -> None:
    parameters = pytest.importorskip("admn_ros.nodes.governor.parameters", reason="ROS 2 is not installed")
    names = {spec.name for spec in parameters.PARAMETERS}
    assert names == {*GovernorConfig.model_fields, *NODE_ONLY} - {"use_sim_time", "qos_overrides"}


@pytest.mark.parametrize("module", ["perception.parameters", "apps.replay", "apps.simulator", "trials.feed"])
def test_a_file_for_all_nodes_holds_parameters_of_the_others(module: str, tmp_path: Path) -> None:
    parameters = pytest.importorskip(f"admn_ros.nodes.{module}", reason="ROS 2 is not installed").PARAMETERS
    shared = {spec.name: spec.default for spec in parameters if spec.name not in GovernorConfig.model_fields}
    text = yaml.safe_dump({"/**": {"ros__parameters": {"target_c": 60.0, **shared}}})
    assert read(tmp_path, text) == GovernorConfig(target_c=60.0)
