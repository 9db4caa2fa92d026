# SPDX-License-Identifier: Apache-2.0
"""Command-line options derived from the fields of a plan.

A plan is a configuration model such as `admn_ros.evaluation.plan.EvaluationPlan`. The model defines names, types,
defaults and help texts once, for YAML, Python and the command line. An option that is not given is absent from the
namespace, so that the default of the model applies.
"""

from __future__ import annotations

import argparse
from collections.abc import Container, Mapping
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

from admn_ros.errors import ConfigError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from admn_ros.config import Strict

C = TypeVar("C", bound="Strict")
SPELLINGS: Final = {"corruptions": "--corruption", "policies": "--policy", "deployment": "--sensors",
                    "sources": "source"}
"""Options that are not spelled as their field."""


def add_plan_options(options: argparse._ActionsContainer, plan: type[Strict],
                     details: Mapping[str, Mapping[str, Any]] | None = None, skip: tuple[str, ...] = (),
                     only: tuple[str, ...] | None = None) -> None:
    """Add an option for each field of a plan.

    Args:
        options: parser or group to add to.
        plan: configuration model.
        details: further arguments of `add_argument` by field, such as a metavar.
        skip: fields without an option.
        only: fields with an option; None for all.
    """
    for name, field in plan.model_fields.items():
        if name not in skip and (only is None or name in only):
            option = spell(name)
            named = {"dest": name} if option.startswith("-") else {"metavar": option}
            options.add_argument(option if option.startswith("-") else name, default=argparse.SUPPRESS,
                                 **{"help": _help(field), **named, **_argument(field), **(details or {}).get(name, {})})


def given_values(options: argparse.Namespace, plan: type[Strict]) -> dict[str, Any]:
    """Return the values of the options that were given, by field of the plan, as parsed from JSON or YAML."""
    given = {name: getattr(options, name) for name in plan.model_fields if hasattr(options, name)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


def with_deployment(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a `BagTruth`, with the deployment file read if it is given by its path or name.

    Raises:
        ConfigError: the file cannot be read or is invalid.
    """
    from admn_ros.deployment import load_deployment

    path = values.get("deployment")
    if not isinstance(path, str):
        return values
    return {**values, "deployment": load_deployment(path).model_dump(mode="json")}


def parse_options(plan: type[C], values: Mapping[str, Any], file: Path | None = None,
                  given: Container[str] | None = None) -> C:
    """Build a plan from the values of options.

    Args:
        plan: configuration model.
        values: by field.
        file: file that some of the values are from.
        given: fields that are options of the command line; by default all.

    Raises:
        ConfigError: a value is missing or invalid; the error names the option, or the field of the file.
    """
    from admn_ros.config import parse_config

    def name(location: tuple[int | str, ...]) -> str:
        field = [part for part in location if isinstance(part, str)][-1]
        from_file = file is not None and given is not None and field not in given
        return f"{file}: {'.'.join(map(str, location))}" if from_file else spell(field)

    _require(plan, values)
    return parse_config(plan, dict(values), str(file or "options"), name)


def _require(plan: type[Strict], values: Mapping[str, Any]) -> None:
    """Raise a `ConfigError` that names the first required option without a value."""
    for name, field in plan.model_fields.items():
        kind, value = _bare(field.annotation), values.get(name)
        if name not in values and field.is_required():
            raise ConfigError.missing(spell(name), field.description)
        if hasattr(kind, "model_fields") and isinstance(value, dict):
            _require(kind, value)


def spell(name: str) -> str:
    """Return the option of a field."""
    return SPELLINGS.get(name, f"--{name.replace('_', '-')}")


def _help(field: FieldInfo) -> str:
    """Return the description of a field, with its default unless the description gives it."""
    text, default = (field.description or "").replace("%", "%%"), field.default
    if "(default: " in text or field.is_required() or default is None or isinstance(default, bool):
        return text
    shown = default if isinstance(default, tuple) else (default,)
    return f"{text} (default: {' '.join(f'{value:g}' if isinstance(value, float) else str(value) for value in shown)})"


def _argument(field: FieldInfo) -> dict[str, Any]:
    """Return the arguments of `add_argument` that follow from the type of a field."""
    kind, found = _bare(field.annotation), dict[str, Any]()
    if get_origin(kind) is tuple:
        items = get_args(kind)
        found["nargs"] = "+" if items[-1] is Ellipsis else len(items)
        kind = _bare(items[0])
    if get_origin(kind) is Literal:
        found["choices"] = get_args(kind)
    elif kind is bool:
        found["action"] = "store_true"
    elif kind in (int, float):
        found |= {"type": kind, "metavar": "N" if kind is int else "X"}
    return found


def _bare(kind: Any) -> Any:
    """Return a type without `Annotated` and without the alternative None."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, UnionType):
            kind = next(part for part in get_args(kind) if part is not type(None))
        else:
            return kind
