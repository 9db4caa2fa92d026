# SPDX-License-Identifier: Apache-2.0
"""Imported official checkpoints give the outputs of the official network."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from admn_ros.budget.budget import Budget
from admn_ros.errors import AdmnError, InputError, ModelError
from admn_ros.model.allocation import Assessment, allocate
from admn_ros.model.checkpoint import load_model
from admn_ros.model.costs import layer_costs
from admn_ros.model.official.admn_checkpoint import import_admn, missing_weights, ratio_of, read_admn
from admn_ros.model.official.legacy_network import LegacyNetwork
from admn_ros.model.transformer import hidden_width
from admn_ros.sample import Modality, SampleBatch
from helpers import official_network as official

Maker = official.Maker
RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO


NODES = {"gdtm": 3, "mmfi": 4, "ave": 2}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Per layout: the official state dict, the imported network and the report."""
    made = {}
    for layout, nodes in NODES.items():
        folder = tmp_path_factory.mktemp(layout)
        state = official.admn_state(layout, noise=4 if layout == "ave" else 2)
        torch.save(state, folder / "last.pt")
        report = import_admn(folder / "last.pt", layout, folder / "model", nodes=nodes)
        made[layout] = state, load_model(folder / "model"), report
    return made


def official_inputs(layout, seed=0):
    """Three samples (B, N, C, H, W) of both modalities, and the batch that holds the same for us."""
    generator = torch.Generator().manual_seed(seed)
    nodes = NODES[layout]
    first = torch.randn(3, nodes, 3, official.PIXELS, official.PIXELS, generator=generator)
    if layout != "ave":
        second = torch.randn(3, nodes, 3, official.PIXELS, official.PIXELS, generator=generator)
        present = torch.ones(3, nodes, dtype=torch.bool)
        return first, second, SampleBatch({RGB: first, DEPTH: second}, {RGB: present, DEPTH: present})
    second = torch.randn(3, 1, 1, 16, 128, generator=generator)
    padded = torch.cat([second, torch.zeros(3, nodes - 1, 1, 16, 128)], 1)
    present = torch.ones(3, nodes, dtype=torch.bool)
    only_first = present.clone()
    only_first[:, 1:] = False
    return first, second, SampleBatch({RGB: first, AUDIO: padded}, {RGB: present, AUDIO: only_first})


@pytest.mark.parametrize("layout", NODES)
@pytest.mark.parametrize("layers", [((0, 1, 2), (0, 1, 2)), ((0, 2), (0,)), ((0,), (0, 1, 2)),
                                    ((0, 1, 2), ()), ((), (0, 2))])
@torch.inference_mode()
def test_outputs_are_the_official_ones(imported, layout, layers):
    state, network, _ = imported[layout]
    first, second, batch = official_inputs(layout)
    out = network.estimate(batch, dict(zip(network.config.modalities, layers, strict=True)))
    embedding = official.fused(state, layout, first, second, layers)
    if layout == "gdtm":
        mean_cm, covariance_cm2 = official.gaussian_cm(state, embedding)
        flip = torch.tensor([1.0, -1.0])
        torch.testing.assert_close(out.mean_m * 100, mean_cm * flip, rtol=1e-4, atol=1e-3)
        found = out.scale_tril_m @ out.scale_tril_m.mT * 100**2
        torch.testing.assert_close(found, covariance_cm2 * flip[:, None] * flip, rtol=1e-4, atol=1e-4)
        assert (out.scale_tril_m.diagonal(dim1=1, dim2=2) >= 0.01).all()
        assert mean_cm.std() > 1  # the samples differ, or the comparison says nothing
        assert torch.equal(out.class_logits, torch.zeros(3, 1))
    else:
        logits = embedding @ state["output_head.weight"].T + state["output_head.bias"]
        torch.testing.assert_close(out.class_logits, logits, rtol=1e-4, atol=1e-5)
        assert torch.equal(out.mean_m, torch.zeros(3, 2))
        assert torch.equal(out.scale_tril_m, 2 * torch.eye(2).expand(3, 2, 2))


@pytest.mark.parametrize("layout", NODES)
@torch.inference_mode()
def test_the_controller_chooses_the_official_layers(imported, layout):
    state, network, _ = imported[layout]
    first, second, batch = official_inputs(layout)
    output = network.controller(batch)
    logits, raw = official.controller(state, layout, first, second)
    torch.testing.assert_close(torch.cat(list(output.logits.values()), 1), logits, rtol=1e-4, atol=1e-5)
    assert (raw.std(0) > 1e-4).all()
    if layout == "ave":
        p = raw.softmax(1)
        expected = torch.stack([p[:, 2] + p[:, 3], p[:, 1] + p[:, 3]], 1)
    else:
        expected = 5 * raw.sigmoid()
    torch.testing.assert_close(torch.stack(list(output.corruption.values()), 1), expected, rtol=1e-4, atol=1e-5)
    table, present = layer_costs(network.config), dict.fromkeys(network.config.modalities, 1)
    for i in range(3):
        scores = {m: x[i].tolist() for m, x in output.logits.items()}
        for total in range(2, 2 * official.DEPTH + 1):
            chosen = allocate(Assessment(scores, dict.fromkeys(present, 1.0)), present, table, Budget(total, "layers"))
            assert [list(x) for x in chosen.active.values()] == list(official.top_layers(logits[i], total))


@pytest.mark.parametrize("layout", NODES)
@pytest.mark.parametrize("absent", [0, 1])
@torch.inference_mode()
def test_a_modality_without_readings_has_the_constant_tokens_of_one_without_layers(imported, layout, absent):
    _, network, _ = imported[layout]
    _, _, batch = official_inputs(layout)
    names = list(network.config.modalities)
    part = SampleBatch(batch.inputs, {m: p & (m is not names[absent]) for m, p in batch.present.items()})
    every = dict.fromkeys(names, (0, 1, 2))
    for a, b in zip(network.estimate(part, every), network.estimate(batch, every | {names[absent]: ()}), strict=True):
        torch.testing.assert_close(a, b)
    without = network.fuse(*network.embed(part, {}))[0]
    assert not all(torch.equal(a, b) for a, b in zip(network.estimate(part, every), without, strict=True))


def test_constant_tokens_are_those_of_the_loaded_weights(imported):
    state, network, _ = imported["gdtm"]
    again = LegacyNetwork(network.config, network.legacy)
    assert not again.constant_tokens.any()
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.constant_tokens, network.constant_tokens)
    assert not any("constant" in name for name in again.state_dict())
    token = official.norm(state, "vision.norm", state["vision.cls_token"] + state["vision.pos_embed"][:, :1])
    token = torch.nn.functional.leaky_relu(official.linear(state, "vision_adapter.fc1", token[0]), 0.01)
    torch.testing.assert_close(again.constant_tokens[:3], official.linear(state, "vision_adapter.fc2", token)
                               .expand(3, -1), rtol=1e-4, atol=1e-5)


def test_batch_training_path_agrees_with_skipping(imported):
    _, network, _ = imported["gdtm"]
    _, _, batch = official_inputs("gdtm")
    masks = {m: torch.tensor([[1.0, 0, 1]]).expand(3, 3) for m in (RGB, DEPTH)}
    with torch.inference_mode():
        for a, b in zip(network.forward_train(batch, masks), network.estimate(batch, {RGB: (0, 2), DEPTH: (0, 2)}),
                        strict=True):
            torch.testing.assert_close(a, b)


@torch.inference_mode()
def test_missing_inputs_leave_the_imported_networks_finite(imported):
    for layout, (_, network, _) in imported.items():
        _, _, batch = official_inputs(layout)
        for gone in network.config.modalities:
            present = {m: p & (m is not gone) for m, p in batch.present.items()}
            part = SampleBatch(batch.inputs, present)
            assert all(torch.isfinite(x).all() for x in network.estimate(part, dict.fromkeys(present, (0, 1))))
            assert torch.isfinite(network.controller(part).e_corr).all()
        nothing = SampleBatch(batch.inputs, {m: torch.zeros_like(p) for m, p in batch.present.items()})
        assert torch.isfinite(network.controller(nothing).e_corr).all()


def test_report_of_an_import(imported):
    for layout, (state, network, report) in imported.items():
        own = set(network.state_dict())
        assert set(report.loaded) == own
        assert report.missing == ()
        assert {n.split(".")[1] for n in report.ignored if n.endswith(("head.weight", "head.bias"))} == {"head"}
        assert ("encoder_cls" in report.ignored) == (layout == "mmfi")
        assert set(report.ignored) <= set(state)
        assert "1e-5" in str(report)
        assert "constant token" in str(report)
    assert network.config.modalities[AUDIO].input.shape == (1, 16, 128)


def test_a_stage_1_checkpoint_has_no_controller(tmp_path):
    state = official.admn_state("gdtm", controller=False)
    torch.save({"model": state}, tmp_path / "s.pt")
    report = import_admn(tmp_path / "s.pt", "gdtm", tmp_path / "m")
    assert report.missing
    assert all(n.startswith("qoi.") for n in report.missing)
    assert "spread evenly" in str(report)
    network = load_model(tmp_path / "m")
    assert network.config.sensor_nodes == ("node1", "node2", "node3")
    assert not network.legacy.controller
    assert "every budget is spread evenly" in (tmp_path / "m" / "README.md").read_text()


@pytest.mark.parametrize(("outputs", "kind"), [(4, "lowlight"), (8, "blur")])
@torch.inference_mode()
def test_corruption_classes_become_severities(tmp_path, outputs, kind):
    state = official.admn_state("gdtm", noise=outputs)
    torch.save(state, tmp_path / "c.pt")
    import_admn(tmp_path / "c.pt", "gdtm", tmp_path / "m")
    network = load_model(tmp_path / "m")
    assert network.legacy.corruption == kind
    first, second, batch = official_inputs("gdtm")
    _, raw = official.controller(state, "gdtm", first, second)
    if kind == "lowlight":
        p = raw.softmax(1)
        expected = torch.stack([p[:, 1] + 2 * p[:, 2], p[:, 0]], 1)
    else:
        expected = torch.stack([sum(k * q[:, k] for k in range(4)) for q in
                                (raw[:, :4].softmax(1), raw[:, 4:].softmax(1))], 1)
    found = torch.stack(list(network.controller(batch).corruption.values()), 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_without_legacy_yaml_the_weights_do_not_fit(tmp_path):
    torch.save(official.admn_state("gdtm"), tmp_path / "c.pt")
    import_admn(tmp_path / "c.pt", "gdtm", tmp_path / "m")
    (tmp_path / "m" / "legacy.yaml").unlink()
    with pytest.raises(ModelError, match="missing"):
        load_model(tmp_path / "m")


def test_folders_are_not_overwritten_without_force(tmp_path):
    torch.save(official.admn_state("gdtm"), tmp_path / "c.pt")
    import_admn(tmp_path / "c.pt", "gdtm", tmp_path / "m")
    (tmp_path / "m" / "costs.yaml").write_text("of before")
    with pytest.raises(ModelError, match="force"):
        import_admn(tmp_path / "c.pt", "gdtm", tmp_path / "m")
    import_admn(tmp_path / "c.pt", "gdtm", tmp_path / "m", force=True)
    assert not (tmp_path / "m" / "costs.yaml").exists()


def _without(state, *names):
    return {k: v for k, v in state.items() if k not in names}


def _broken_states():
    good = official.admn_state("gdtm")
    return [
        (official.admn_state("mmfi"), "fc1"),
        (_without(good, "output_head.mean_head.bias"), "mean_head"),
        (_without(good, "vision.norm.bias"), "norm.bias"),
        (_without(good, "controller.cls"), "controller.cls"),
        (good | {"mmWave.cls_token": torch.zeros(1, 1, 128)}, "mmWave"),
        (good | {"output_head.mlp.2.bias": torch.zeros(32)}, "mlp.2"),
        (good | {"vision.cls_token": torch.full((1, 1, 128), torch.inf)}, "NaN or infinite"),
        (good | {"depth_adapter.fc2.weight": torch.zeros(32, 25)}, "adapters.depth.2.weight"),
        (good | {"controller.noise_output.2.bias": torch.zeros(5)}, "2, 4 or 8"),
        (good | {"vision.pos_embed": torch.zeros(1, 6, 128)}, "5 patches"),
        (official.vit_state(Maker()), "vision"),
    ]


@pytest.mark.parametrize(("state", "what"), _broken_states())
def test_other_networks_are_refused_in_one_line(tmp_path, state, what):
    torch.save(state, tmp_path / "c.pt")
    with pytest.raises(ModelError, match=what) as info:
        import_admn(tmp_path / "c.pt", "gdtm", tmp_path / "m")
    assert "\n" not in str(info.value)
    assert not (tmp_path / "m").exists()


def test_wrong_layout_or_nodes(tmp_path):
    torch.save(official.admn_state("gdtm", controller=False), tmp_path / "c.pt")
    with pytest.raises(InputError, match="layout"):
        import_admn(tmp_path / "c.pt", "kitti", tmp_path / "m")
    with pytest.raises(InputError, match="nodes"):
        import_admn(tmp_path / "c.pt", "gdtm", tmp_path / "m", nodes=0)


def _misshapen(value, change):
    return {"scalar": torch.zeros(()), "empty": torch.zeros(0), "one more axis": value[None],
            "one longer": torch.zeros(value.shape[0] + 1, *value.shape[1:]),
            "NaN": torch.full_like(value, torch.nan)}[change]


@pytest.mark.slow
@pytest.mark.parametrize("layout", NODES)
@pytest.mark.parametrize("change", ["scalar", "empty", "one more axis", "one longer", "NaN", "absent", "unknown"])
def test_any_wrong_weight_is_one_clear_line(layout, change):
    state = official.admn_state(layout, noise=4 if layout == "ave" else 2)
    read = read_admn(state, "last.pt", layout)
    network = LegacyNetwork(read.config, read.legacy)
    # Names that differ only in a number are alike; heads of the backbones, counters and encoder_cls are not used.
    for name in {re.sub(r"blocks.\d|layers.\d", "", n): n for n in state}.values():
        if name in read.unused or not state[name].ndim:
            continue
        broken = {n: v for n, v in state.items() if n != name}
        if change == "unknown":
            broken = state | {f"{name}.lora": state[name]}
        elif change != "absent":
            broken[name] = _misshapen(state[name], change)
        with pytest.raises(AdmnError) as info:
            again = read_admn(broken, "last.pt", layout)
            missing_weights(network if again.config == read.config else LegacyNetwork(again.config, again.legacy),
                            again, "last.pt")
            pytest.fail(f"{name} was taken")
        assert "\n" not in str(info.value), name
        assert "last.pt" in str(info.value), name


@given(st.integers(1, 4096), st.integers(1, 16384))
def test_the_ratio_gives_exactly_the_width(dim, hidden):
    assert hidden_width(dim, ratio_of(hidden, dim)) == hidden
