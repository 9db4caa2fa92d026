# SPDX-License-Identifier: Apache-2.0
"""The governor's parameters from a file: that of its node, as ROS 2 reads it, or a plain mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from admn_ros.config import parse_config, read_yaml
from admn_ros.errors import ConfigError
from admn_ros.governor.config import GovernorConfig

NODE: Final = "admn_governor"
"""Name of the node."""
NODE_ONLY: Final = ("model", "autostart", "priority", "period_s", "valid_for_s", "diagnostics_period_s", "use_sim_time",
                    "qos_overrides")
"""Parameters of the node that are no part of the control law."""
_PARAMETERS: Final = "ros__parameters"
_OWN: Final = (*GovernorConfig.model_fields, *NODE_ONLY)
_MISSPELT: Final = 0.9
"""Similarity from which on a name is one of the governor, misspelt."""


def read_governor(path: str | Path) -> GovernorConfig:
    """Read the control law from a YAML file.

    A parameter file of ROS 2 has sections: `/**` for all nodes, `admn_governor` or `/robot/admn_governor` for one. The
    section of the governor overrides those with wildcards, and sections of other nodes are left out. So are parameters
    of other nodes in a section with wildcards, unless they look like a misspelt parameter of the governor. Parameters
    that concern the node alone (`NODE_ONLY`) have no effect here.

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
    sections = dict(_sections(raw, "", place))
    exact = [name for name in sections if name.rpartition("/")[2] == NODE]
    general = [name for name in sections if name not in exact and fnmatchcase(NODE, name.rpartition("/")[2])]
    if len(exact) > 1:
        raise ConfigError(place, f"sections {' and '.join(exact)}", f"one section of {NODE}")
    if not exact and not general:
        raise ConfigError(place, f"sections of {', '.join(sections)}", f"a section /** or {NODE}")
    given: dict[str, Any] = {}
    for name in general:
        given |= sections[name]
    found = {key: value for key, value in given.items() if _may_be_own(str(key))}
    if not exact and len(found) < len(given) and all(key in NODE_ONLY for key in found):
        raise ConfigError(f"{place}: {' and '.join(general)}", "parameters of other nodes alone", f"those of {NODE}")
    for name in exact:
        found |= sections[name]
    return found


def _may_be_own(key: str) -> bool:
    """Return whether a parameter for several nodes is one of the governor, rightly or wrongly spelt."""
    name = key.partition(".")[0]
    return name in _OWN or bool(get_close_matches(name, _OWN, 1, _MISSPELT))


def _sections(raw: Mapping[str, Any], above: str, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the name of the node, with its namespaces, and the parameters of each section."""
    for key, value in raw.items():
        if key == _PARAMETERS:
            if not isinstance(value, dict):
                raise ConfigError(f"{place}: {above}", "nothing" if value is None else type(value).__name__,
                                  "a mapping of parameters")
            yield above, value
        elif isinstance(value, dict):
            yield from _sections(value, f"{above}/{str(key).strip('/')}", place)
        else:
            raise ConfigError(f"{place}: {key}", "a value outside of a section", f"sections with {_PARAMETERS}")


def _is_section(value: object) -> bool:
    return isinstance(value, dict) and (_PARAMETERS in value or any(map(_is_section, value.values())))
