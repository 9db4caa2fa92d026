# SPDX-License-Identifier: Apache-2.0
"""Strict configuration from YAML.

Unknown keys, wrong types and values out of range raise a `ConfigError` that names the field, the value that was found
and the values that are allowed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from admn_ros.config.strict_yaml import parse_yaml
from admn_ros.errors import ConfigError, InputError
from admn_ros.files import read_text, write_text

LARGEST: Final = 1e12
"""Largest magnitude of a number: more than any length, time or rate, and exact in integer nanoseconds and float32."""
LARGEST_COUNT: Final = 2**31 - 1
SHOWN_CHARACTERS: Final = 80
"""Length up to which an error shows a mapping that was found."""


def _no_limit(limit: Any) -> Any:
    return None if limit == math.inf else limit


Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Limit = Annotated[NotNegative | None, BeforeValidator(_no_limit)]
"""Limit of a budget. None is no limit; infinity is read as None."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
BudgetUnit = Literal["layers", "gflops", "milliseconds", "joules", "watts"]
BUDGET_UNITS: Final[tuple[BudgetUnit, ...]] = get_args(BudgetUnit)
"""In the order of the `UNIT_*` constants of `ComputeBudget.msg`."""


class Strict(BaseModel):
    """Base class of all configurations: immutable, without unknown keys, without silent type conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Objective(Strict):
    """Weights of what a frame is for, by which compute is allocated.

    Attributes:
        position: weight of the position.
        classification: weight of the class.
    """

    position: NotNegative = 1.0
    classification: NotNegative = 1.0

    @model_validator(mode="after")
    def _a_weight(self) -> Objective:
        if not self.position + self.classification:
            raise ValueError("position or classification must be above 0")
        return self


C = TypeVar("C", bound=Strict)
Spell = Callable[[tuple[int | str, ...]], str]


def load_config(kind: type[C], path: str | Path) -> C:
    """Read a YAML file into a configuration.

    Raises:
        ConfigError: the file cannot be read (`read_yaml`), or does not fit.
    """
    return parse_config(kind, read_yaml(path), str(path))


def read_yaml(path: str | Path) -> object:
    """Read a YAML file.

    Raises:
        ConfigError: the file is missing, is no file or too large, is not text, or is YAML that `parse_yaml` refuses.
    """
    try:
        text = read_text(Path(path), "a readable YAML file")
    except InputError as error:
        raise ConfigError(error.field, error.found, error.allowed) from error
    return parse_yaml(text, str(path))


def parse_config(kind: type[C], raw: object, place: str, spell: Spell | None = None) -> C:
    """Validate a mapping, as read from YAML, against a configuration.

    Args:
        kind: configuration model.
        raw: mapping to validate.
        place: name of the mapping in errors.
        spell: name of a field in errors, from its location; by default the keys, joined by dots, after `place`.

    Raises:
        ConfigError: the mapping does not fit; only the first problem is described.
    """
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else type(raw).__name__
        raise ConfigError(place, found, f"a mapping with {', '.join(kind.model_fields)}")
    try:
        # In JSON mode, strict validation accepts lists as tuples and names as modalities.
        return kind.model_validate_json(json.dumps(raw, default=str, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:   # half of a character: a name of a file that is not UTF-8
        word = error.object[error.object.rfind('"', 0, error.start) + 1:error.object.find('"', error.end)]
        raise ConfigError(place, repr(word), "text in UTF-8") from error
    except ValidationError as error:
        raise _config_error(error, place, kind, spell) from error


def dump_config(config: Strict, path: str | Path) -> None:
    """Write a configuration as a YAML file that `load_config` can read.

    Raises:
        InputError: the file cannot be written.
    """
    write_text(Path(path), config_text(config))


def config_text(config: Strict) -> str:
    """Return a configuration as YAML, the way `dump_config` stores it."""
    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, default_flow_style=None)
    return text


def _config_error(error: ValidationError, place: str, kind: type[Strict], spell: Spell | None) -> ConfigError:
    """Describe the first problem in one line, and count the others."""
    problems = error.errors(include_url=False)
    first = problems[0]
    location = tuple(part for part in first["loc"] if part != "[key]")
    field = f"{place}: {'.'.join(map(str, location))}" if location else place
    field = spell(location) if spell is not None and location else field
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        return ConfigError(field, f"an unknown key{more}", ", ".join(_siblings(kind, first["loc"])) or "no such key")
    if first["type"] == "missing":
        return ConfigError.missing(field, f"a value{more}")
    value = first.get("input")
    found = f"{value!r} ({type(value).__name__}){more}" if not isinstance(value, dict) else f"{_mapping(value)}{more}"
    allowed = first["msg"].removeprefix("Value error, ")
    return ConfigError(field, found, allowed[:1].lower() + allowed[1:])


def _mapping(value: dict[str, object]) -> str:
    """Return a mapping as text, or what it is if that would be long."""
    text = ", ".join(f"{key}: {each}" for key, each in value.items())
    return text if len(text) <= SHOWN_CHARACTERS else "this mapping"


def _siblings(kind: type[Strict], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that are allowed in place of an unknown one, by walking the schema along `loc`."""
    schema: dict[str, Any] = kind.model_json_schema()
    node = schema
    for part in loc[:-1]:
        node = _resolve(node, schema)
        options = node.get("oneOf") or node.get("anyOf")
        if options is not None:
            resolved = [_resolve(option, schema) for option in options]
            node = next((o for o in resolved
                         if o.get("properties", {}).get("kind", {}).get("const") == part), resolved[0])
            continue
        extra = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
        node = node.get("properties", {}).get(part) or (extra if isinstance(extra, dict) else {})
    return list(_resolve(node, schema).get("properties", {}))


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    if reference is None:
        return node
    found: dict[str, Any] = schema["$defs"][reference.rsplit("/", 1)[1]]
    return found
