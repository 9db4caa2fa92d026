# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.errors import InputError
from admn_ros.model.allocation import gumbel_top_l
from admn_ros.model.costs import flop_costs
from admn_ros.sample import Modality, SampleBatch

DEPTH, RADAR = Modality.DEPTH, Modality.RADAR
FULL = {DEPTH: range(4), RADAR: range(3)}


def rows_seen(network, run):
    """Batch size of each call of each part of the network."""
    seen = []
    parts = {f"{m}/{name}": part for m, vit in network.backbones.items()
             for name, part in [("embed", vit.patch_embed), *((str(i), b) for i, b in enumerate(vit.blocks))]}
    parts |= {f"{m}/stem": part for m, part in network.qoi.stems.items()}
    hooks = [part.register_forward_hook(lambda _m, args, _o, name=name: seen.append((name, len(args[0]))))
             for name, part in parts.items()]
    run()
    for hook in hooks:
        hook.remove()
    return seen


def select(batch, i):
    return SampleBatch({m: x[i:i + 1] for m, x in batch.inputs.items()},
                       {m: x[i:i + 1] for m, x in batch.present.items()})


def test_shapes(network, batch):
    output = network.estimate(batch, FULL)
    assert output.mean_m.shape == (3, 3)
    assert output.scale_tril_m.shape == (3, 3, 3)
    assert output.class_logits.shape == (3, 2)


def test_all_present_nodes_run_as_one_call_and_absent_ones_do_not(network, batch):
    batch.present[DEPTH][0, 1] = batch.present[DEPTH][2, 0] = False
    seen = rows_seen(network, lambda: network.estimate(batch, {DEPTH: (0, 2), RADAR: (0,)}))
    assert seen == [("depth/embed", 4), ("depth/0", 4), ("depth/2", 4), ("radar/embed", 6), ("radar/0", 6)]


def test_a_modality_without_layers_is_not_run_at_all(network, batch):
    assert rows_seen(network, lambda: network.estimate(batch, {DEPTH: (), RADAR: (0,)})) == [
        ("radar/embed", 6), ("radar/0", 6)]
    present = {**batch.present, DEPTH: torch.zeros(3, 2, dtype=torch.bool)}
    absent = network.estimate(SampleBatch(batch.inputs, present), FULL)
    unused = network.estimate(batch, {RADAR: range(3)})
    unknown = network.estimate(SampleBatch({RADAR: batch.inputs[RADAR]}, {RADAR: batch.present[RADAR]}), FULL)
    assert torch.equal(absent.mean_m, unused.mean_m)
    assert torch.equal(absent.mean_m, unknown.mean_m)


def test_readings_of_absent_nodes_have_no_influence(network, batch):
    batch.present[DEPTH][:, 1] = False
    batch.present[RADAR][1] = False
    before, judged = network.estimate(batch, FULL), network.controller(batch)
    batch.inputs[DEPTH][:, 1] = float("nan")
    batch.inputs[RADAR][1] = 1e9
    after, again = network.estimate(batch, FULL), network.controller(batch)
    assert torch.equal(before.mean_m, after.mean_m)
    assert torch.equal(judged.e_corr, again.e_corr)


def test_a_sample_without_inputs_is_finite(network, batch):
    empty = SampleBatch(batch.inputs, {m: torch.zeros_like(p) for m, p in batch.present.items()})
    for output in (network.estimate(empty, FULL), network.controller(empty).logits.values()):
        assert all(torch.isfinite(x).all() for x in output)
    with pytest.raises(InputError, match="at least one"):
        network.estimate(SampleBatch({}, {}), FULL)


def test_a_batch_equals_single_samples(network, batch):
    batch.present[RADAR][1, 0] = False
    together = network.estimate(batch, {DEPTH: (0, 3), RADAR: (0, 1)})
    for i in range(3):
        alone = network.estimate(select(batch, i), {DEPTH: (0, 3), RADAR: (0, 1)})
        for x, y in zip(together, alone, strict=True):
            assert torch.allclose(x[i], y[0], atol=1e-5)


def test_training_with_mixed_masks_equals_single_estimates(network, batch):
    batch.present[DEPTH][2, 0] = False
    plans = [{DEPTH: (0,), RADAR: (0, 2)}, {DEPTH: (), RADAR: (0,)}, {DEPTH: (0, 1, 3), RADAR: ()}]
    masks = {m: torch.zeros(3, d) for m, d in network.config.depths.items()}
    for row, plan in enumerate(plans):
        for m, layers in plan.items():
            masks[m][row, list(layers)] = 1
    together = network.forward_train(batch, masks)
    for row, plan in enumerate(plans):
        alone = network.estimate(select(batch, row), plan)
        for x, y in zip(together, alone, strict=True):
            assert torch.allclose(x[row], y[0], atol=1e-5)


def test_the_task_loss_reaches_the_controller_through_the_layer_choice(network, batch):
    network.zero_grad()
    output = network.controller(batch)
    masks = gumbel_top_l(output.logits, {m: p.any(1) for m, p in batch.present.items()}, 4,
                         generator=torch.Generator().manual_seed(0))
    network.forward_train(batch, masks).mean_m.sum().backward()
    for part in (network.qoi.mlp_layers, network.qoi.stems, network.qoi.encoder):
        assert any(p.grad is not None and (p.grad != 0).any() for p in part.parameters())
    network.zero_grad()


def test_controller_output(network, batch):
    output = network.controller(batch)
    assert {m: tuple(x.shape) for m, x in output.logits.items()} == {DEPTH: (3, 4), RADAR: (3, 3)}
    assert output.e_corr.shape == (3, 16)
    for m, corruption in output.corruption.items():
        assert corruption.shape == (3,)
        assert (corruption >= 0).all()
        assert torch.allclose(output.qoi[m], torch.exp(-corruption))
    assert not torch.allclose(output.e_corr[0], output.e_corr[1], atol=1e-4)


def test_quality_stays_above_zero():
    from admn_ros.model.qoi import ControllerOutput

    output = ControllerOutput({}, {DEPTH: torch.tensor([0.0, 1e30])}, torch.zeros(2, 1))
    assert output.qoi[DEPTH][0] == 1
    assert 0 < output.qoi[DEPTH][1] < 1e-30


def test_the_controller_processes_present_nodes_only(network, batch):
    batch.present[DEPTH][0] = False
    batch.present[RADAR][:] = False
    assert rows_seen(network, lambda: network.controller(batch)) == [("depth/stem", 4)]


@pytest.mark.parametrize("plan", [FULL, {DEPTH: (0, 2), RADAR: ()}, {DEPTH: (0,), RADAR: (0, 1)}])
@pytest.mark.parametrize("absent", [False, True])
def test_the_flop_table_counts_exactly_what_runs(network, batch, plan, absent):
    one = select(batch, 0)
    if absent:
        one.present[RADAR][0, 1] = False
    present = {m: int(p.sum()) for m, p in one.present.items()}
    # The plain attention kernel, because the counter does not see into the CPU's fused one.
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network.controller(one)
        tril = network.estimate(one, plan).scale_tril_m[0]
        _ = tril @ tril.T  # the covariance, which the engine computes
    costs = flop_costs(network.config)
    used = [(costs.modalities[m], present[m] - 1, len(layers)) for m, layers in plan.items() if layers]
    table = costs.base(present) + sum(c.embedding[n] + k * c.layer[n] for c, n, k in used)
    assert table == counter.get_total_flops()
