# SPDX-License-Identifier: Apache-2.0
"""Measures what the parts of a model cost on this machine (`admn profile`).

The milliseconds are medians. A budget in milliseconds is a strict bound on their sum, in the table's
exact arithmetic; it is not a bound on the wall clock, which no general-purpose system promises.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import MeasuredCosts, MeasuredModality, MeasuredTable
from admn_ros.config import dump_config
from admn_ros.errors import InputError
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.inference.hardware import device_name
from admn_ros.model.checkpoint import COSTS
from admn_ros.model.costs import ModelCosts
from admn_ros.model.vit import AdaptiveViT
from admn_ros.sample import Modality


@torch.inference_mode()
def measure_costs(engine: Engine, repeats: int, date: str, power_w: float | None = None) -> MeasuredCosts:
    """Measure the median time of a frame's fixed part and, per modality, of look, entry and one layer.

    Each is measured for 1, 2, ... sensor nodes. What a whole frame takes beyond the sum of its parts
    (copies, allocation, Python) is counted into the fixed part.

    Args:
        engine: the model, on the device to measure. Nothing else should run meanwhile.
        repeats: measurements of each part, at least 1.
        date: when, written into the result.
        power_w: mean power of the device while it computes, measured with a meter. Joules are the
            times multiplied by it; without it the model has no joules.

    Raises:
        InputError: `repeats` or `power_w` is out of range.
    """
    if repeats < 1:
        raise InputError("repeats", repeats, "at least 1")
    if power_w is not None and not (math.isfinite(power_w) and power_w > 0):
        raise InputError("power_w", power_w, "watts above 0")
    engine.warm_up()
    clock = _Clock(engine.device, repeats)
    modalities = {m: _modality(engine, m, clock) for m in engine.config.modalities}
    parts_ms = sum(c.controller[-1] + c.embedding[-1] + engine.config.depths[m] * c.layer[-1]
                   for m, c in modalities.items())
    sample, everything = blank_sample(engine.config), Budget(math.inf, "layers", "profile")
    whole_ms = clock.median_ms(lambda: engine.infer(sample, everything))
    fixed_ms = max(_fixed(engine, clock), whole_ms - parts_ms)
    milliseconds = MeasuredTable(fixed=fixed_ms, modalities=modalities)
    return MeasuredCosts(
        device=device_name(engine.device), torch=torch.__version__, threads=torch.get_num_threads(), date=date,
        repeats=repeats, milliseconds=milliseconds, power_w=power_w,
        joules=None if power_w is None else _scaled(milliseconds, power_w / 1000))


def write_costs(engine: Engine, measured: MeasuredCosts) -> Path:
    """Write costs.yaml into the engine's model folder and use it from the next frame on."""
    path = engine.folder / COSTS
    costs = ModelCosts(engine.config, measured, engine.network.flop_costs())
    dump_config(measured, path)
    engine.costs = costs
    return path


class _Clock:
    """Times a piece of work, with the device's queue empty before and after."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self._device, self._repeats = device, repeats

    def median_ms(self, work: Callable[[], object]) -> float:
        work()
        return statistics.median(self._once_ms(work) for _ in range(self._repeats))

    def _once_ms(self, work: Callable[[], object]) -> float:
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return (time.perf_counter() - start) * 1e3

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _modality(engine: Engine, modality: Modality, clock: _Clock) -> MeasuredModality:
    network = engine.network
    vit, adapter, look = network.backbone(modality), network.adapters[str(modality)], network.qoi.look[str(modality)]
    looks, entries, layers = [], [], []
    for nodes in range(1, len(engine.config.sensor_nodes) + 1):
        x = torch.zeros(nodes, *vit.shape, device=engine.device)
        # A different block each time, as in a frame: one alone would stay in the cache.
        blocks = itertools.cycle(vit.blocks)
        looks.append(clock.median_ms(partial(look, x)))
        entries.append(clock.median_ms(partial(_entry, vit, adapter, x)))
        layers.append(clock.median_ms(partial(_layer, blocks, vit.embed(x)[0])))
    return MeasuredModality(controller=tuple(looks), embedding=tuple(entries), layer=tuple(layers))


def _entry(vit: AdaptiveViT, adapter: nn.Module, x: Tensor) -> object:
    return adapter(vit.readout(*vit.embed(x)))


def _layer(blocks: Iterator[nn.Module], tokens: Tensor) -> object:
    return next(blocks)(tokens)


def _fixed(engine: Engine, clock: _Clock) -> float:
    """Controller without its looks, fusion and heads."""
    network, config = engine.network, engine.config
    slots, looks = len(config.modalities) * len(config.sensor_nodes), len(network.qoi.encoder.code)
    present = torch.ones(1, slots, dtype=torch.bool, device=engine.device)
    keep = torch.ones(1, looks, dtype=torch.bool, device=engine.device)
    tokens = torch.zeros(1, slots, config.fusion.dim, device=engine.device)
    looked = torch.zeros(1, looks, config.qoi.dim, device=engine.device)

    def work() -> None:
        e_corr = network.qoi.encoder(looked, keep)[:, 0]
        network.qoi.mlp_layers(e_corr)
        network.qoi.mlp_corruption(e_corr)
        fused = network.fusion(tokens, present)
        network.localization(fused)
        network.classification(fused)

    return clock.median_ms(work)


def _scaled(table: MeasuredTable, factor: float) -> MeasuredTable:
    return MeasuredTable(fixed=table.fixed * factor, modalities={
        m: MeasuredModality(controller=tuple(v * factor for v in c.controller),
                            embedding=tuple(v * factor for v in c.embedding),
                            layer=tuple(v * factor for v in c.layer))
        for m, c in table.modalities.items()})
