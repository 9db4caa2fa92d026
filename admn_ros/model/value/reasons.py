# SPDX-License-Identifier: Apache-2.0
"""Why an allocation by value runs one input and not another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from admn_ros.model.allocation import InputChoice, Why
from admn_ros.sample import Modality


def explain(active: Mapping[Modality, Sequence[int]], choices: Sequence[InputChoice], names: Sequence[str] = ()) -> str:
    """Return in one line what ran, and why each other available input did not.

    Args:
        active: executed layers per modality.
        choices: what was decided about each input.
        names: names of the sensor nodes; empty to number them from 1.
    """
    ran: list[str] = []
    others: dict[Why, list[str]] = {}
    for m, layers in active.items():
        here = [i for i in choices if i.modality is m and i.why is not Why.NO_READING]
        if layers:
            ran.append(_named(f"{m} {len(layers)}", [i for i in here if i.ran], here, names))
        for why in dict.fromkeys(i.why for i in here if not i.ran):
            others.setdefault(why, []).append(_named(str(m), [i for i in here if i.why is why], here, names))
    left = (f"not run ({why}): {', '.join(inputs)}" for why, inputs in others.items())
    return "; ".join([f"Layers by predicted value: {', '.join(ran)}", *left]) + "."


def _named(text: str, some: Sequence[InputChoice], present: Sequence[InputChoice], names: Sequence[str]) -> str:
    """Add sensor nodes, if these are not all present ones, and the value to the text of inputs of one modality."""
    where = "" if len(some) == len(present) else " at " + " and ".join(
        names[i.node] if names else str(i.node + 1) for i in some)
    return f"{text}{where} (value {sum(i.value for i in some):.3g})"
