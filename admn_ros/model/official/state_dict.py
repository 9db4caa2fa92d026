# SPDX-License-Identifier: Apache-2.0
"""The weights inside a checkpoint: their place, their names and their type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from admn_ros.errors import ModelError

WRAPPERS: Final = ("model", "state_dict", "model_state_dict", "module", "net", "network", "backbone", "weights",
                   "params", "model_ema", "state_dict_ema", "ema")
"""Keys under which training scripts store weights, in order of preference: averages of weights come last."""
_INSERTED: Final = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|module)\.")
"""Parts of names that torch.compile, FSDP and DistributedDataParallel insert."""


def find_weights(held: object, place: str, key: str | None = None) -> dict[str, Tensor]:
    """Return the weights of a checkpoint by their plain names.

    Args:
        held: content of the file.
        place: file that errors name.
        key: where the weights are: a key, several joined by dots, or the beginning of their names; None looks for one
            of `WRAPPERS`, or a single mapping of tensors.

    Raises:
        ModelError: no weights are there, or two of them have the same plain name.
    """
    found = _unwrapped(held if key is None else _under(held, key, place))
    weights: dict[str, Tensor] = {}
    for raw, value in found.items() if isinstance(found, Mapping) else ():
        if not isinstance(value, Tensor):
            continue
        name = _plain(raw)
        if name in weights:
            raise ModelError(f"{place}: {name}", "two weights of this name", "one; --key names its place")
        weights[name] = value
    if not weights:
        raise ModelError(place, f"{_described(held)} without weights",
                         f"a dict of tensors, bare or under {', '.join(WRAPPERS)}; --key names another place")
    return weights


def take_part(state: Mapping[str, Tensor], anchors: Sequence[str],
              place: str) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Return the weights of the part that has a certain weight, such as `vit.` or `model.backbone.`.

    Args:
        state: weights by name.
        anchors: names of weights that identify the part; the first that occurs decides.
        place: file that errors name.

    Returns:
        Weights of the part without their prefix, and the names of all others. If no anchor occurs, or one without a
        prefix, all weights are of the part.

    Raises:
        ModelError: several parts have the weight.
    """
    for anchor in anchors:
        if anchor in state:
            return state, ()
        prefixes = [name.removesuffix(anchor) for name in state if name.endswith(f".{anchor}")]
        if len(prefixes) > 1:
            raise ModelError(place, f"{len(prefixes)} networks: {some_of([p[:-1] for p in prefixes])}",
                             f"one; --key chooses it, such as --key {prefixes[0][:-1]}")
        if prefixes:
            part = {name.removeprefix(prefixes[0]): value for name, value in state.items()
                    if name.startswith(prefixes[0])}
            return part, tuple(name for name in state if not name.startswith(prefixes[0]))
    return state, ()


def as_floats(place: str, value: Tensor) -> Tensor:
    """Return a weight as finite float32.

    Raises:
        ModelError: the values are integers or 8-bit floats, whose scale is not known, or are not finite.
    """
    if not value.is_floating_point() or value.element_size() < 2:
        kind = str(value.dtype).removeprefix("torch.")
        raise ModelError(place, f"{kind} values without a scale", "weights of float16, bfloat16, float32 or float64; "
                                                                  "export the network before its quantization")
    converted = value.float()
    if not bool(torch.isfinite(converted).all()):
        raise ModelError(place, "NaN or infinite weights", "finite weights")
    return converted


def _unwrapped(held: object) -> object:
    """Return what is inside of all wrappers. A few tensors beside a wrapper, such as a score, are not the weights."""
    entered: set[int] = set()
    while isinstance(held, Mapping) and id(held) not in entered:  # a pickled dict can contain itself
        entered.add(id(held))
        maps = {name: value for name, value in held.items() if isinstance(value, Mapping)}
        inner = next((maps[w] for w in WRAPPERS if w in maps), None)
        if inner is None:
            weights = [value for value in maps.values() if _tensors(value)]
            inner = weights[0] if len(weights) == 1 else None
        if inner is None or len(inner) < _tensors(held):
            break
        held = inner
    return held


def _tensors(held: Mapping[object, object]) -> int:
    return sum(isinstance(value, Tensor) for value in held.values())


def _under(held: object, key: str, place: str) -> object:
    """Return what is under a key, under keys joined by dots, or has names that begin with it."""
    found, left = held, key
    while left and isinstance(found, Mapping):
        if left in found:
            return found[left]
        head, _, rest = left.partition(".")
        inner = found.get(head)
        if not isinstance(inner, Mapping):
            break
        found, left = inner, rest
    inside = _unwrapped(found)
    named = {_plain(name).removeprefix(f"{left}."): value for name, value in inside.items()
             if _plain(name).startswith(f"{left}.")} if isinstance(inside, Mapping) else {}
    if not named:
        raise ModelError("--key", key, f"a place in {place}, which is {_described(held)}")
    return named


def _plain(name: object) -> str:
    return _INSERTED.sub("", str(name))


def _described(held: object) -> str:
    if not isinstance(held, Mapping):
        return f"a {type(held).__name__}"
    return f"a dict with {some_of([str(name) for name in held])}" if held else "an empty dict"


def some_of(names: Sequence[str], most: int = 8) -> str:
    """List the first names, and count the others."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
