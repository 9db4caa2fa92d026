# SPDX-License-Identifier: Apache-2.0
"""Checkpoints beside the usual ones: wrapped, of one modality, and networks that are refused by name."""

import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.errors import InputError, ModelError
from admn_ros.inference.engine import Engine
from admn_ros.model.checkpoint import load_model
from admn_ros.model.official.import_checkpoint import import_checkpoint
from admn_ros.sample import Modality, MultimodalSample, SampleBatch
from helpers import official_network as official

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO
NODES = {"gdtm": 3, "mmfi": 4, "ave": 2}


def saved(tmp_path, content, name="last.pt"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def under(prefix, state):
    return {f"{prefix}.{name}": value for name, value in state.items()}


def only(state, kept, dropped):
    """Stage 1 of one modality: without the backbone and the adapter of the other."""
    assert f"{kept}.cls_token" in state
    return {n: v for n, v in state.items() if not n.startswith((f"{dropped}.", f"{dropped}_adapter."))}


def mns(layout="gdtm"):
    """A whole MNS checkpoint: three Stage 1 networks and a selector."""
    both, second = official.admn_state(layout, controller=False), "audio" if layout == "ave" else "depth"
    selector = official.Maker(7).linear("selector.mod_sel_head.2", 3, 128, bias=False)
    return under("vision", only(both, "vision", second)) | under(second, only(both, second, "vision")) | under(
        "fused", both) | selector


WRAPPED = {
    "_orig_mod.": (lambda s: under("_orig_mod", s), "last.pt"),
    "module.module.": (lambda s: under("module.module", s), "last.pt"),
    "{'net': ...}": (lambda s: {"net": s, "epoch": 3}, "last.pt"),
    ".pth.tar": (lambda s: {"state_dict": under("module", s), "best_acc1": 0.5}, "last.pth.tar"),
    "a module of another": (lambda s: {"model": under("student", s)}, "last.pt"),
}


@pytest.mark.parametrize("layout", NODES)
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_official_weights_are_found_in_their_wrapping(tmp_path, layout, wrapped):
    state = official.admn_state(layout, noise=4 if layout == "ave" else 2)
    wrap, name = WRAPPED[wrapped]
    reports = import_checkpoint(saved(tmp_path, wrap(state), name), tmp_path / "model", nodes=2)
    assert list(reports) == [f"admn-{layout}"]
    import_checkpoint(saved(tmp_path, state), tmp_path / "bare", nodes=2)
    expected, found = load_model(tmp_path / "bare").state_dict(), load_model(tmp_path / "model").state_dict()
    assert all(torch.equal(found[n], expected[n]) for n in expected)


def unimodal(layout, alone):
    second = "audio" if layout == "ave" else "depth"
    state = official.admn_state(layout, controller=False)
    return only(state, *(("vision", second) if alone is RGB else (second, "vision")))


@pytest.mark.parametrize(("layout", "alone"), [("gdtm", RGB), ("gdtm", DEPTH), ("mmfi", RGB), ("mmfi", DEPTH),
                                               ("ave", RGB), ("ave", AUDIO)])
@torch.inference_mode()
def test_stage_1_of_one_modality_gives_the_official_outputs(tmp_path, layout, alone):
    state, nodes = unimodal(layout, alone), NODES[layout]
    [report] = import_checkpoint(saved(tmp_path, state), tmp_path / "model", nodes=nodes).values()
    network = load_model(tmp_path / "model")
    assert list(network.config.modalities) == [alone]
    assert network.legacy.layout == layout
    assert f"{alone} only" in str(report)
    generator = torch.Generator().manual_seed(4)
    shape = (1, 16, 128) if alone is AUDIO else (3, official.PIXELS, official.PIXELS)
    x = torch.randn(3, nodes, *shape, generator=generator)
    present = torch.ones(3, nodes, dtype=torch.bool)
    if alone is AUDIO:
        present[:, 1:] = False
    out = network.estimate(SampleBatch({alone: x}, {alone: present}), {alone: (0, 2)})
    theirs = x[:, :1] if alone is AUDIO else x
    embedding = official.fused(state, layout, theirs, theirs, ((0, 2), (0, 2)))
    if layout == "gdtm":
        mean_cm, _ = official.gaussian_cm(state, embedding)
        torch.testing.assert_close(out.mean_m * 100, mean_cm * torch.tensor([1.0, -1.0]), rtol=1e-4, atol=1e-3)
    else:
        torch.testing.assert_close(out.class_logits, official.linear(state, "output_head", embedding), rtol=1e-4,
                                   atol=1e-5)


def test_a_network_of_one_modality_runs_in_the_engine(tmp_path):
    import_checkpoint(saved(tmp_path, unimodal("gdtm", DEPTH)), tmp_path / "model")
    x = torch.randn(3, 3, official.PIXELS, official.PIXELS, generator=torch.Generator().manual_seed(1))
    estimate = Engine(tmp_path / "model", "cpu", 1).infer(
        MultimodalSample({DEPTH: x}, {DEPTH: torch.ones(3, dtype=torch.bool)}), Budget(2, "layers"))
    assert len(estimate.allocation.active[DEPTH]) == 2
    assert estimate.mean_m is not None


@pytest.mark.parametrize(("layout", "key", "held"), [
    ("gdtm", "fused", [RGB, DEPTH]), ("gdtm", "vision", [RGB]), ("gdtm", "depth", [DEPTH]), ("ave", "audio", [AUDIO])])
def test_networks_of_a_whole_mns_checkpoint_are_imported_by_key(tmp_path, layout, key, held):
    import_checkpoint(saved(tmp_path, mns(layout)), tmp_path / "model", key=key)
    network = load_model(tmp_path / "model")
    assert (list(network.config.modalities), network.legacy.layout) == (held, layout)


def autoencoder():
    make = official.Maker(2)
    state = official.stem_state(make, "encoder_dict.zed_camera_left", 3, 16, 1587, normed=False)
    state |= official.encoder_state(make, "combiner_encoder", 16, 2, 64)
    return state | {"cls": make(1, 16), "decoder_dict.zed_camera_left.0.weight": make(1, 32, 14, 14)}


def three_modalities():
    make = official.Maker(2)
    return official.admn_state("gdtm") | official.vit_state(make, official.DIM, 2, 16, prefix="mmWave.") | make.linear(
        "mmWave_adapter.fc1", 24, official.DIM)


def controller_alone():
    return {n.removeprefix("controller."): v for n, v in official.admn_state("gdtm").items()
            if n.startswith("controller.")}


@pytest.mark.parametrize(("state", "found", "instead"), [
    pytest.param(mns, "a whole MNS network", "--key fused", id="whole MNS"),
    pytest.param(lambda: mns("ave"), "a whole MNS network", "--key fused", id="whole MNS of AVE"),
    pytest.param(lambda: {"mod_sel_head.2.weight": torch.ones(3, 4)}, "the selector", "network", id="selector"),
    pytest.param(autoencoder, "the autoencoder of ADMN_AE", "Stage 2 checkpoint", id="autoencoder"),
    pytest.param(three_modalities, "three modalities", "--key vision with --preset", id="three modalities"),
    pytest.param(controller_alone, "controller without its network", "Stage 2", id="controller alone")])
@pytest.mark.parametrize("wrap", [dict, lambda s: under("module", s)], ids=["bare", "parallel"])
def test_other_official_networks_are_refused_by_name(tmp_path, state, found, instead, wrap):
    with pytest.raises(ModelError) as info:
        import_checkpoint(saved(tmp_path, wrap(state())), tmp_path / "model")
    assert "\n" not in str(info.value)
    assert found in str(info.value) and instead in str(info.value)
    assert not (tmp_path / "model").exists()


def test_a_backbone_of_three_modalities_is_found_by_key(tmp_path):
    with pytest.raises(InputError, match="preset: missing"):  # and no longer refused as a network of three modalities
        import_checkpoint(saved(tmp_path, three_modalities()), tmp_path / "model", key="vision")


def test_a_controller_needs_both_backbones(tmp_path):
    state = only(official.admn_state("gdtm"), "vision", "depth")
    with pytest.raises(ModelError, match=r"depth\.patch_embed|depth_adapter"):
        import_checkpoint(saved(tmp_path, state), tmp_path / "model")
