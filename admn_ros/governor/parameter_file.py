# SPDX-License-Identifier: Apache-2.0
"""The governor's parameters from a file: that of its node, as ROS 2 reads it, or a plain mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from admn_ros.config import parse_config, read_yaml
from admn_ros.errors import ConfigError
from admn_ros.governor.config import GovernorConfig
from admn_ros.parameter_sections import PARAMETERS, sections_of

NODE: Final = "admn_governor"
"""Name of the node."""
NODE_ONLY: Final = ("model", "autostart", "priority", "period_s", "valid_for_s", "diagnostics_period_s", "use_sim_time",
                    "qos_overrides")
"""Parameters of the node that are no part of the control law."""
_OWN: Final = (*GovernorConfig.model_fields, *NODE_ONLY)
_MISSPELT: Final = 0.9
"""Similarity from which on a name is one of the governor, misspelt."""


def read_governor(path: str | Path) -> GovernorConfig:
    """Read the control law from a YAML file.

    A parameter file of ROS 2 has sections: `/**` for all nodes, `admn_governor` or `/robot/admn_governor` for one. The
    later of two sections overrides, and sections of other nodes are left out. So are parameters of other nodes in a
    section with wildcards, unless they look like a misspelt parameter of the governor. Parameters that concern the node
    alone (`NODE_ONLY`) have no effect here.

    Raises:
        ConfigError: the file cannot be read, has a parameter that the governor does not have, or no section for it.
    """
    raw, place = read_yaml(path), str(path)
    if isinstance(raw, dict):
        raw = _of_the_governor(raw, place) if any(_is_section(value) for value in raw.values()) else raw
        raw = {name: value for name, value in raw.items() if str(name).partition(".")[0] not in NODE_ONLY}
    return parse_config(GovernorConfig, raw, place)


def _of_the_governor(raw: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the parameters for the governor from the sections of a ROS 2 file."""
    sections = dict(_checked(raw, place))
    exact = [name for name in sections if name.rpartition("/")[2] == NODE]
    general = [name for name in sections if name.rpartition("/")[2] in ("*", "**")]  # of any namespace
    if len(exact) > 1:
        raise ConfigError(place, f"sections {' and '.join(exact)}", f"one section of {NODE}")
    if not exact and not general:
        raise ConfigError(place, f"sections of {', '.join(sections)}", f"a section /** or {NODE}")
    found: dict[str, Any] = {}
    left_out = False
    for name, section in sections.items():  # later sections override, as in ROS
        if name in exact:
            found |= section
        elif name in general:
            own = {key: value for key, value in section.items() if _may_be_own(str(key))}
            left_out |= len(own) < len(section)
            found |= own
    if not exact and left_out and all(key in NODE_ONLY for key in found):
        raise ConfigError(f"{place}: {' and '.join(general)}", "parameters of other nodes alone", f"those of {NODE}")
    return found


def _checked(raw: Mapping[str, Any], place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name and the parameters of each section.

    Raises:
        ConfigError: a section has no mapping of parameters.
    """
    for name, parameters in sections_of(raw):
        if not isinstance(parameters, dict):
            found = "nothing" if parameters is None else type(parameters).__name__
            raise ConfigError(f"{place}: {name}", found, f"{PARAMETERS} with a mapping")
        yield name, parameters


def _may_be_own(key: str) -> bool:
    """Return whether a parameter for several nodes is one of the governor, rightly or wrongly spelt."""
    name = key.partition(".")[0]
    return name in _OWN or bool(get_close_matches(name, _OWN, 1, _MISSPELT))


def _is_section(value: object) -> bool:
    return isinstance(value, dict) and (PARAMETERS in value or any(map(_is_section, value.values())))
