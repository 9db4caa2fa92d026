# SPDX-License-Identifier: Apache-2.0
import argparse
import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import layer_costs
from admn_ros.config import BackboneConfig
from admn_ros.errors import InputError, ModelError
from admn_ros.model.allocation import allocate
from admn_ros.model.checkpoint import load_model
from admn_ros.model.importing import import_admn, load_backbone, read_foreign
from admn_ros.model.vit import AdaptiveViT
from admn_ros.sample import Modality, SampleBatch

_spec = importlib.util.spec_from_file_location("official", Path(__file__).with_name("official.py"))
official = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(official)
Maker, vit_state = official.Maker, official.vit_state

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO


def ours(channels=3, rows=2, columns=2, dim=24, depth=3, heads=3, patch=(16, 16)):
    torch.manual_seed(1)
    vit = AdaptiveViT((channels, rows * patch[0], columns * patch[1]),
                      BackboneConfig(dim=dim, depth=depth, heads=heads, patch=patch))
    for p in vit.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return vit.eval()


def random_input(vit, rows=2, seed=2):
    return torch.randn(rows, *vit.shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These networks are so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- files ------------------------------------------------------------------------------------------

STATE = {"cls_token": torch.ones(1, 1, 2), "norm.bias": torch.arange(2.0)}
SHAPES = {
    "bare": STATE,
    "model": {"model": STATE, "epoch": 3},
    "state_dict": {"state_dict": STATE, "best": 0.5},
    "model_state_dict": {"model_state_dict": STATE},
    "both": {"model": {"state_dict": STATE}},
    "module": {"model": {f"module.{k}": v for k, v in STATE.items()}},
    "optimizer": {"model": STATE, "optimizer": {"state": {}, "param_groups": []}},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_wrappers_and_prefixes_come_off(tmp_path, shape, suffix):
    torch.save(SHAPES[shape], tmp_path / f"c{suffix}")
    state = read_foreign(tmp_path / f"c{suffix}")
    assert set(state) == set(STATE)
    assert all(torch.equal(state[k], STATE[k]) for k in STATE)


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "c.safetensors")
    assert torch.equal(read_foreign(tmp_path / "c.safetensors")["norm.bias"], torch.arange(2.0))


@pytest.mark.skipif(not hasattr(torch.serialization, "safe_globals"), reason="PyTorch before 2.5")
def test_a_command_line_beside_the_weights_is_read(tmp_path):
    torch.save({"model": STATE, "args": argparse.Namespace(lr=0.1)}, tmp_path / "c.pth")
    assert set(read_foreign(tmp_path / "c.pth")) == set(STATE)


class Evil:
    def __reduce__(self):
        return print, ("this code ran",)


def test_code_is_refused_in_one_line_and_does_not_run(tmp_path, capsys):
    torch.save({"model": STATE, "extra": Evil()}, tmp_path / "c.pth")
    with pytest.raises(ModelError, match="only code") as info:
        read_foreign(tmp_path / "c.pth")
    assert "\n" not in str(info.value)
    assert "this code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "content", "what"), [
    ("c.pt", b"", "broken"), ("c.pth", b"PK\x03\x04 not a checkpoint", "broken"),
    ("c.pt", b"\x80\x02garbage", "broken"), ("c.safetensors", b"\x00" * 4, "broken"), ("c.onnx", b"x", ".onnx")])
def test_files_that_cannot_be_read(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=what) as info:
        read_foreign(tmp_path / name)
    assert "\n" not in str(info.value)


def test_nothing_to_read(tmp_path):
    with pytest.raises(ModelError, match="nothing"):
        read_foreign(tmp_path / "absent.pt")
    torch.save({"epoch": 3}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match="without weights"):
        read_foreign(tmp_path / "c.pt")
    torch.save([1, 2], tmp_path / "l.pt")
    with pytest.raises(ModelError, match="list"):
        read_foreign(tmp_path / "l.pt")


# --- backbones -------------------------------------------------------------------------------------


def mae(make, dim=24):
    """A pretraining checkpoint of MAE."""
    s = vit_state(make, dim) | {"mask_token": make(1, 1, 16), "decoder_pos_embed": make(1, 5, 16)}
    s |= make.linear("decoder_embed", 16, dim) | make.linear("decoder_pred", 768, 16) | make.norm("decoder_norm", 16)
    return s | make.norm("decoder_blocks.0.norm1", 16)


def test_mae_computes_what_it_computed():
    state, vit = mae(Maker()), ours()
    report = load_backbone(vit, state)
    assert (report.interpolated, report.missing) == ((), ())
    assert set(report.loaded) == set(vit.state_dict())
    assert all("decoder" in n or n == "mask_token" for n in report.ignored)
    assert len(report.ignored) == 10
    assert "mae" in report.notes[0]
    x = random_input(vit)
    for layers in ((0, 1, 2), (1,), ()):
        torch.testing.assert_close(vit(x, layers), official.vit(state, "", x, layers, heads=3, eps=1e-6))


def test_a_timm_vit_with_its_classifier_in_half_precision():
    make = Maker(3)
    state = vit_state(make) | make.linear("head", 7, 24)
    vit = ours()
    report = load_backbone(vit, {k: v.half() for k, v in state.items()}, "timm")
    assert report.ignored == ("head.weight", "head.bias")
    assert vit.norm.weight.dtype == torch.float32
    x = random_input(vit)
    torch.testing.assert_close(vit(x, range(3)), official.vit(state, "", x, range(3), heads=3, eps=1e-6),
                               rtol=0.02, atol=0.02)


def test_distilled_deit_at_its_own_size():
    make = Maker(4)
    state = vit_state(make, 192, 2, 196, extra_tokens=1) | {"dist_token": make(1, 1, 192)}
    state |= make.linear("head", 1000, 192) | make.linear("head_dist", 1000, 192)
    vit = ours(rows=14, columns=14, dim=192, depth=2)
    report = load_backbone(vit, state)
    assert report.missing == report.interpolated == ()
    assert set(report.ignored) == {"dist_token", "head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    assert "deit" in str(report)
    kept = torch.cat([state["pos_embed"][:, :1], state["pos_embed"][:, 2:]], 1)
    assert torch.equal(vit.pos_embed, kept)


def test_a_global_pool_norm_is_not_taken_for_ours():
    vit = ours()
    before = vit.norm.weight.clone()
    report = load_backbone(vit, vit_state(Maker(), norm="fc_norm"))
    assert set(report.missing) == {"norm.weight", "norm.bias"}
    assert set(report.ignored) == {"fc_norm.weight", "fc_norm.bias"}
    assert torch.equal(vit.norm.weight, before)
    assert any("needs training" in note for note in report.notes)


@pytest.mark.parametrize(("theirs", "mine"), [(3, 1), (1, 3), (3, 4)])
def test_equal_channels_get_the_same_response(theirs, mine):
    state, vit = vit_state(Maker(5), channels=theirs), ours(channels=mine)
    report = load_backbone(vit, state, "timm")
    gray = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(vit(gray.expand(-1, mine, -1, -1), (0, 1)),
                               official.vit(state, "", gray.expand(-1, theirs, -1, -1), (0, 1), heads=3, eps=1e-6))
    assert f"from {theirs} channels to {mine}" in str(report)


def test_positions_are_interpolated_over_a_rectangle():
    state, vit = vit_state(Maker(6), patches=16), ours(rows=3, columns=6)
    rows = torch.arange(4.0)[:, None].expand(4, 4)
    state["pos_embed"][0, 1:, 0] = rows.flatten()
    state["pos_embed"][0, 1:, 1] = rows.T.flatten()
    state["pos_embed"][0, 1:, 2] = 5.0
    report = load_backbone(vit, state)
    assert report.interpolated == ("pos_embed",)
    assert "4 x 4 patches to 3 x 6" in str(report)
    assert torch.equal(vit.pos_embed[0, 0], state["pos_embed"][0, 0])
    down, across, flat = vit.pos_embed[0, 1:, :3].T.reshape(3, 3, 6)
    torch.testing.assert_close(flat, torch.full((3, 6), 5.0))
    assert (down.diff(dim=0) > 0.8).all()
    assert (across.diff(dim=1) > 0.3).all()
    torch.testing.assert_close(down, down[:, :1].expand(3, 6))
    torch.testing.assert_close(across, across[:1].expand(3, 6))
    upsampled = ours(rows=8, columns=8)
    load_backbone(upsampled, state)
    grid = state["pos_embed"][0, 1:].T.reshape(1, 24, 4, 4)
    expected = F.interpolate(grid, (8, 8), mode="bicubic", align_corners=False, antialias=True)  # as timm does
    torch.testing.assert_close(upsampled.pos_embed[0, 1:].T.reshape(1, 24, 8, 8), expected)


def test_smaller_patches_answer_a_coarser_picture_alike():
    state, vit = vit_state(Maker(7)), ours(rows=2, columns=2, patch=(16, 4))
    report = load_backbone(vit, state)
    assert "patch_embed.proj.weight" in report.interpolated
    x = random_input(vit)
    fine = x.repeat_interleave(4, dim=3)
    torch.testing.assert_close(vit(x, (0, 1)), official.vit(state, "", fine, (0, 1), heads=3, eps=1e-6))


def test_audiomae_is_turned_to_mels_by_time():
    make = Maker(8)
    state = vit_state(make, patches=32, channels=1) | make.linear("decoder_embed", 16, 24)
    vit = ours(channels=1, rows=2, columns=16)
    report = load_backbone(vit, state)
    assert "audiomae" in str(report)
    assert "16 x 2 patches to 2 x 16, transposed" in str(report)
    x = random_input(vit)
    theirs = official.vit(state, "", x.transpose(2, 3), range(3), heads=3, eps=1e-6)
    torch.testing.assert_close(vit(x, range(3)), theirs)
    asked = ours(channels=1, rows=2, columns=16)
    load_backbone(asked, state, "timm", source_grid=(16, 2))
    assert not torch.equal(asked.pos_embed, vit.pos_embed)


def test_depths_may_differ():
    vit = ours(depth=2)
    report = load_backbone(vit, vit_state(Maker(), depth=3))
    assert {n.split(".")[1] for n in report.ignored} == {"2"}
    assert "last 1 of its layers" in str(report)
    report = load_backbone(ours(depth=4), vit_state(Maker(), depth=3))
    assert len(report.missing) == 12
    assert all(n.startswith("blocks.3.") for n in report.missing)
    assert "missing: 12 (blocks x12)" in str(report)


def _changed(**changes):
    return {k: v for k, v in (vit_state(Maker()) | changes).items() if v is not None}


@pytest.mark.parametrize(("state", "what"), [
    ({}, "none"),
    ({"vit.embeddings.cls_token": torch.zeros(1)}, "vit.embeddings"),
    (_changed(**{"blocks.1.ls1.gamma": torch.ones(24)}), "ls1"),
    (_changed(reg_token=torch.ones(1, 4, 24)), "reg_token"),
    (_changed(**{"norm_pre.weight": torch.ones(24)}), "norm_pre"),
    (vit_state(Maker(), dim=32), "24"),
    (vit_state(Maker(), ratio=3), "fc1"),
    (vit_state(Maker(), patches=5), "5 patches"),
    (_changed(cls_token=torch.full((1, 1, 24), float("nan"))), "NaN"),
    (_changed(pos_embed=torch.zeros(1, 1, 24)), "pos_embed"),
])
def test_what_does_not_fit_is_named_and_changes_nothing(state, what):
    vit = ours()
    before = {k: v.clone() for k, v in vit.state_dict().items()}
    with pytest.raises(ModelError, match=what) as info:
        load_backbone(vit, state)
    assert "\n" not in str(info.value)
    assert all(torch.equal(v, before[k]) for k, v in vit.state_dict().items())


def test_wrong_arguments():
    with pytest.raises(InputError, match="kind"):
        load_backbone(ours(), vit_state(Maker()), "dino")
    with pytest.raises(InputError, match="source_grid"):
        load_backbone(ours(), vit_state(Maker()), source_grid=(3, 1))


# --- official ADMN checkpoints ----------------------------------------------------------------------

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
@pytest.mark.parametrize("layers", [((0, 1, 2), (0, 1, 2)), ((0, 2), (0,)), ((0,), (0, 1, 2))])
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
def test_controller_chooses_what_the_official_one_chooses(imported, layout):
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
            chosen = allocate(scores, dict.fromkeys(present, 1.0), present, table, Budget(total, "layers"))
            assert [list(x) for x in chosen.active.values()] == list(official.top_layers(logits[i], total))


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


def test_reports_say_what_happened(imported):
    for layout, (state, network, report) in imported.items():
        own = set(network.state_dict())
        assert set(report.loaded) == own
        assert report.missing == ()
        assert {n.split(".")[1] for n in report.ignored if n.endswith(("head.weight", "head.bias"))} == {"head"}
        assert ("encoder_cls" in report.ignored) == (layout == "mmfi")
        assert set(report.ignored) <= set(state)
        assert "1e-5" in str(report)
    assert network.config.modalities[AUDIO].input.shape == (1, 16, 128)


def test_a_stage_1_checkpoint_has_no_controller(tmp_path):
    state = official.admn_state("gdtm", controller=False)
    torch.save({"model": state}, tmp_path / "s.pt")
    report = import_admn(tmp_path / "s.pt", "gdtm", tmp_path / "m")
    assert report.missing
    assert all(n.startswith("qoi.") for n in report.missing)
    assert "random" in str(report)
    network = load_model(tmp_path / "m")
    assert network.config.sensor_nodes == ("node1", "node2", "node3")
    assert not network.legacy.controller
    assert "scores of the layers are random" in (tmp_path / "m" / "README.md").read_text()


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


def test_folders_are_not_overwritten_unasked(tmp_path):
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


