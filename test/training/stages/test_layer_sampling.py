# SPDX-License-Identifier: Apache-2.0
"""Layer selection in training: exact budgets, gradients, and higher scores first."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from admn_ros.errors import InputError
from admn_ros.model.qoi import ControllerOutput
from admn_ros.sample import Modality
from admn_ros.training.stages.layer_sampling import Selection, affordable, relaxed_top, select

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO
HARD: list[Selection] = ["gumbel", "straight_through", "neuralsort"]
EVERY: list[Selection] = [*HARD, "progressive"]


def scores(batch: int = 40, seed: int = 0) -> dict[Modality, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {m: (2 * torch.randn(batch, d, generator=generator)).requires_grad_()
            for m, d in ((RGB, 5), (DEPTH, 3), (AUDIO, 4))}


def presence(batch: int = 40) -> dict[Modality, Tensor]:
    """Return all eight combinations cyclically."""
    number = torch.arange(batch)
    return {m: (number >> i & 1).bool() for i, m in enumerate((RGB, DEPTH, AUDIO))}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("layers", [3, 5, 8, 12])
def test_exactly_the_budget(kind: Selection, layers: int) -> None:
    logits, available = scores(), presence()
    masks = select(kind, logits, available, layers, noise=torch.Generator().manual_seed(1))
    held = sum(available[m] * logits[m].shape[1] for m in logits)
    total = torch.cat([masks[m] for m in logits], dim=1).sum(dim=1)
    assert torch.allclose(total, torch.clamp(torch.as_tensor(held), max=layers).float(), atol=1e-4)
    for m, mask in masks.items():
        assert not mask[~available[m]].any()
        assert (mask[available[m]][:, 0] == 1).all()
        assert mask.requires_grad
        if kind != "progressive" or layers == 12:
            assert ((mask == 0) | (mask == 1)).all()
        assert (mask >= 0).all()


@pytest.mark.parametrize("kind", EVERY)
def test_gradients_reach_the_free_layers_only(kind: Selection) -> None:
    logits, available = scores(), presence()
    masks = select(kind, logits, available, 5, noise=torch.Generator().manual_seed(1))
    weights = torch.Generator().manual_seed(2)
    sum(((m * torch.randn(m.shape, generator=weights)).sum() for m in masks.values()), torch.zeros(())).backward()
    everything = torch.stack(list(available.values())).all(dim=0)
    for m, x in logits.items():
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert not x.grad[:, 0].any()
        assert not x.grad[~available[m]].any()
        assert x.grad[everything][:, 1:].abs().sum() > 0


def test_straight_through_takes_the_best_and_copies_the_gradient() -> None:
    logits = {RGB: torch.tensor([[9.0, 1.0, 3.0]], requires_grad=True), DEPTH: torch.tensor([[0.0, 2.0]])}
    yes = dict.fromkeys(logits, torch.tensor([True]))
    masks = select("straight_through", logits, yes, 4)
    assert masks[RGB].tolist() == [[1, 0, 1]]
    assert masks[DEPTH].tolist() == [[1, 1]]
    (masks[RGB] * torch.tensor([[5.0, 7.0, 11.0]])).sum().backward()
    assert logits[RGB].grad is not None
    assert logits[RGB].grad.tolist() == [[0, 7, 11]]


def test_progressive_becomes_hard_as_tau_falls() -> None:
    logits, available = scores(), {m: torch.ones(40, dtype=torch.bool) for m in (RGB, DEPTH, AUDIO)}
    spread = []
    for tau in (1.0, 0.1, 0.01):
        mask = torch.cat(list(select("progressive", logits, available, 6, tau,
                                     torch.Generator().manual_seed(3)).values()), dim=1)
        spread.append(float((mask * (1 - mask)).detach().abs().mean()))
    assert spread[0] > 4 * spread[1] > 8 * spread[2]
    gumbel = torch.cat(list(select("gumbel", logits, available, 6,
                                   noise=torch.Generator().manual_seed(3)).values()), dim=1)
    assert ((mask > 0.5) == (gumbel == 1)).float().mean() > 0.98  # the same noise, so nearly the same choice


def test_whole_modalities_go_below_their_number() -> None:
    corruption = {RGB: torch.tensor([0.1, 0.9, 0.5]), DEPTH: torch.tensor([0.5, 0.1, 0.1]),
                  AUDIO: torch.tensor([0.2, 0.2, 0.9])}
    output = ControllerOutput({m: torch.zeros(3, 4) for m in corruption}, corruption, torch.zeros(3, 8))
    available = {RGB: torch.tensor([True, True, True]), DEPTH: torch.tensor([True, True, False]),
                 AUDIO: torch.tensor([True, True, True])}
    two = affordable(output, available, 2)
    assert two[RGB].tolist() == [True, False, True]
    assert two[DEPTH].tolist() == [False, True, False]
    assert two[AUDIO].tolist() == [True, True, True]
    one = affordable(output, available, 1)
    assert {m: x.tolist() for m, x in one.items()} == {
        RGB: [True, False, True], DEPTH: [False, True, False], AUDIO: [False, False, False]}
    assert affordable(output, available, 3) == available


def test_invalid_arguments() -> None:
    logits, available = scores(), presence()
    with pytest.raises(InputError, match="layers"):
        select("straight_through", logits, available, 2)
    for kind in ("gumbel", "progressive", "neuralsort"):
        with pytest.raises(InputError, match="tau"):
            select(kind, logits, available, 5, tau=0.0)  # type: ignore[arg-type]


ROWS = st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=1, max_size=9)


@given(ROWS, st.integers(0, 9), st.floats(0.02, 5))
def test_neuralsort_rows_sum_to_the_count(row: list[tuple[float, bool]], wanted: int, tau: float) -> None:
    values = torch.tensor([[v for v, _ in row]], requires_grad=True)
    free = torch.tensor([[f for _, f in row]])
    count = torch.clamp(free.sum(dim=1), max=wanted)
    soft = relaxed_top(values, free, count, tau)
    assert soft.sum().item() == pytest.approx(float(count), abs=1e-4)
    assert (soft >= 0).all()
    assert not soft[~free].any()
    soft.square().sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert not values.grad[~free].any()


def test_neuralsort_is_the_published_operator() -> None:
    """Compare with the matrix form P = softmax(((n + 1 - 2i) s - A 1) / tau), and with a hard sort for small tau."""
    s, tau = torch.tensor([0.3, -1.2, 2.0, 0.9]), 0.7
    distances = (s[:, None] - s[None]).abs() @ torch.ones(4)
    rows = torch.stack([torch.softmax(((4 + 1 - 2 * i) * s - distances) / tau, 0) for i in (1, 2)])
    everything = torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(relaxed_top(s[None], everything, torch.tensor([2]), tau)[0], rows.sum(dim=0))
    torch.testing.assert_close(relaxed_top(s[None], everything, torch.tensor([2]), 0.01)[0],
                               torch.tensor([0.0, 0.0, 1.0, 1.0]))


def test_neuralsort_draws_better_layers_more_often() -> None:
    logits = {RGB: torch.tensor([[0.0, 0.5, 0.1, -0.5]]).expand(4000, -1)}
    mask = select("neuralsort", logits, {RGB: torch.ones(4000, dtype=torch.bool)}, 2,
                  noise=torch.Generator().manual_seed(0))[RGB]
    wanted = (3 * logits[RGB][0, 1:].tanh()).softmax(dim=0)
    torch.testing.assert_close(mask.mean(dim=0)[1:], wanted, atol=0.03, rtol=0)
