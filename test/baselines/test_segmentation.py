# SPDX-License-Identifier: Apache-2.0
"""RGB-D segmentation network: what is not chosen does not run; training agrees with inference; costs are exact."""

from __future__ import annotations

import pytest
import torch

from admn_ros.baselines.segmentation.config import SegmentationConfig
from admn_ros.baselines.segmentation.costs import MacMeter, gate_macs, macs_by_choice
from admn_ros.baselines.segmentation.network import BLOCKS, CHOICES, RgbdSegmentation
from admn_ros.errors import InputError
from admn_ros.model.checkpoint import initialize
from admn_ros.sample import Modality, SampleBatch

SMALL = SegmentationConfig(classes=("a", "b", "c"), depth_channels=1, height=32, width=64, stem=4, widths=(4, 4, 8, 8),
                           decoder=4, gate=2)


@pytest.fixture
def network() -> RgbdSegmentation:
    found = RgbdSegmentation(SMALL)
    initialize(found, 1)
    return found.eval()


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(CHOICES, 3, 32, 64, generator=generator), torch.randn(CHOICES, 1, 32, 64, generator=generator)


def test_one_hot_weights_give_what_runs_at_inference(network: RgbdSegmentation, images) -> None:
    choice = torch.arange(CHOICES)
    trained = network.forward_train(*images, torch.eye(CHOICES))
    ran = network.run(*images, choice)
    assert ran.shape == (CHOICES, 3, 32, 64)
    torch.testing.assert_close(trained, ran, rtol=1e-4, atol=1e-5)
    shuffled = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(network.run(images[0][shuffled], images[1][shuffled], shuffled), ran[shuffled],
                               rtol=1e-4, atol=1e-5)


def test_blocks_that_are_not_chosen_do_not_run(network: RgbdSegmentation, images) -> None:
    calls: list[int] = []
    for i, block in enumerate(network.depth_blocks):
        block.register_forward_hook(lambda *_, i=i: calls.append(i))
    network.depth_stem.register_forward_hook(lambda *_: calls.append(-1))
    for count in range(CHOICES):
        calls.clear()
        network.run(images[0][:1], images[1][:1], torch.tensor([count]))
        assert calls == ([-1, *range(count)] if count else [])


def test_depth_that_is_not_chosen_does_not_matter(network: RgbdSegmentation, images) -> None:
    rgb, depth = images
    none, some = torch.zeros(CHOICES, dtype=torch.long), torch.full((CHOICES,), BLOCKS)
    torch.testing.assert_close(network.run(rgb, depth, none), network.run(rgb, -depth, none))
    assert not torch.allclose(network.run(rgb, depth, some), network.run(rgb, -depth, some))


def test_costs_are_those_of_the_layers_that_run(network: RgbdSegmentation, images) -> None:
    macs = macs_by_choice(network)
    assert list(macs) == sorted(set(macs)) and len(macs) == CHOICES
    # First depth block: two convolutions at an eighth of the input, after a stem at a quarter, and its fusion.
    stem, block, fusion = 9 * 1 * 4 * 16 * 32, 9 * (4 * 4 + 4 * 4) * 8 * 16, 4 * 4
    assert macs[1] - macs[0] == stem + block + fusion
    with MacMeter(network) as meter:
        network.run(*(x[:2] for x in images), torch.tensor([1, 3]))
    assert meter.macs == macs[1] + macs[3]
    assert 0 < gate_macs(network) < 0.1 * macs[0]


def test_a_gate_gets_the_gradient_of_the_pixels(network: RgbdSegmentation, images) -> None:
    network.forward_train(*images, network.soft_weights(*images, 1.0)).square().mean().backward()
    assert network.gate[-1].weight.grad.abs().sum() > 0


def test_inputs_of_another_shape_are_refused(network: RgbdSegmentation) -> None:
    present = torch.ones(1, 1, dtype=torch.bool)
    for inputs, field in (({Modality.RGB: torch.zeros(1, 1, 3, 32, 64)}, "depth: found nothing"),
                          ({Modality.RGB: torch.zeros(1, 1, 3, 16, 64), Modality.DEPTH: torch.zeros(1, 1, 1, 32, 64)},
                           "rgb: found")):
        with pytest.raises(InputError, match=field):
            network.inputs(SampleBatch(inputs, dict.fromkeys(inputs, present)))
    with pytest.raises(ValueError, match="32"):
        SegmentationConfig(classes=("a", "b"), height=48)
