# SPDX-License-Identifier: Apache-2.0
"""What is timed beside each other.

All but the matrix products begin with inputs in the memory of the CPU, and end with estimates there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, cast

import torch
from torch import Tensor

from admn_ros.benchmark.latency.case import Case
from admn_ros.benchmark.latency.static_network import StaticNetwork
from admn_ros.inference.runtime import ENGINES
from admn_ros.model.allocation import allocate
from admn_ros.model.network import NetworkOutput
from admn_ros.model.transformer import Block
from admn_ros.sample import SampleBatch

Work = Callable[[], object]
Make = Callable[[Case], Work | None]
"""Prepares a contender for a case; None if it does not take part."""

ALMOST_0 = 1e-30
"""Mask of a layer without effect that is computed all the same: `forward_masked` leaves out what all masks exclude."""


def _engine(runtime: str) -> Make:
    """Return the engine as the node runs it: controller, allocation and chosen layers, frame by frame."""
    def contender(case: Case) -> Work | None:
        engine, frames = case.engine(runtime), list(zip(case.samples, case.budgets, strict=True))
        if engine is None:
            return None
        return lambda: [engine.infer(sample, budget, decide=allocate) for sample, budget in frames]

    return contender


def _together(case: Case) -> Work | None:
    """Return the engine with all frames at once, each with its own layers."""
    engine, budgets = case.engine("torch"), case.budgets
    if len(case.samples) == 1 or engine is None:
        return None
    return lambda: engine.infer_many(case.samples, budgets, decide=allocate)


def _reference(case: Case) -> Work:
    """Return controller and chosen layers in plain PyTorch, frame by frame."""
    batches = [SampleBatch.stack([sample]) for sample in case.samples]

    @torch.inference_mode()
    def work() -> object:
        outputs = []
        for batch, chosen in zip(batches, case.chosen, strict=True):
            moved = batch.to(case.device)
            with case.autocast():
                scores = case.network.controller(moved).logits
                output = case.network.estimate(moved, chosen)
            outputs.append((_fetched(output), {m: s.cpu() for m, s in scores.items()}))
        return outputs

    return work


def _static(case: Case) -> Work:
    """Return a network of only the layers of the first frame, without controller or choice, on all frames at once."""
    static, batch = StaticNetwork(case.network, case.chosen[0], case.nodes, case.dtype), case.batch

    @torch.inference_mode()
    def work() -> object:
        return _fetched(static(batch.to(case.device)))

    return work


def _masked(case: Case) -> Work:
    """Return the controller, and all layers on all frames, masked where a frame does not use them."""
    batch, depths = case.batch, case.network.config.depths
    masks = {m: torch.tensor([[1.0 if i in chosen.get(m, ()) else ALMOST_0 for i in range(depth)]
                              for chosen in case.chosen], device=case.device) for m, depth in depths.items()}

    @torch.inference_mode()
    def work() -> object:
        moved = batch.to(case.device)
        with case.autocast():
            case.network.controller(moved)
            return _fetched(case.network.forward_train(moved, masks))

    return work


def _matrix_products(case: Case) -> Work:
    """Return the matrix products of the chosen layers of backbones alone: the limit of what layers can take."""
    products: list[tuple[Tensor, Tensor]] = []
    for m, chosen in case.chosen[0].items():
        backbone, vit = case.network.config.modalities[m].backbone, case.network.backbone(m)
        rows, tokens, dim, heads = len(case.samples) * case.nodes, vit.pos_embed.shape[1], backbone.dim, backbone.heads
        blocks = cast(Sequence[Block], vit.blocks)
        hidden = blocks[0].mlp.fc1.out_features
        x, wide = (torch.randn(rows * tokens, width, device=case.device, dtype=case.dtype) for width in (dim, hidden))
        q = torch.randn(rows * heads, tokens, dim // heads, device=case.device, dtype=case.dtype)
        scores = torch.randn(rows * heads, tokens, tokens, device=case.device, dtype=case.dtype)
        for i in chosen:
            block = blocks[i]
            qkv, proj, fc1, fc2 = (layer.weight.detach().to(case.dtype).t() for layer in (
                block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2))
            products += [(x, qkv), (q, q.transpose(1, 2)), (scores, q), (x, proj), (x, fc1), (wide, fc2)]

    @torch.inference_mode()
    def work() -> object:
        for a, b in products:
            torch.matmul(a, b)
        return None

    return work


def _fetched(output: NetworkOutput) -> NetworkOutput:
    """Return an output on the CPU, which waits for the device."""
    return NetworkOutput(*(x.double().cpu() for x in output))


ONE_BY_ONE, TOGETHER = "engine (torch)", "engine (torch), together"
CONTENDERS: Final[Mapping[str, Make]] = MappingProxyType({
    **{f"engine ({runtime})": _engine(runtime) for runtime in ENGINES}, TOGETHER: _together,
    "reference": _reference, "static": _static, "masked": _masked, "matrix products": _matrix_products})
"""Contenders by name, in the order of tables and figures."""
OF_MIXED_BATCHES: Final = (*(f"engine ({runtime})" for runtime in ENGINES), TOGETHER, "masked")
"""Contenders that can give the frames of a batch different budgets, and run fast at it or not."""
