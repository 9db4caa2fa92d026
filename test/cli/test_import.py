# SPDX-License-Identifier: Apache-2.0
"""`admn import` of backbones: what is loaded where, what is reported, and what is refused."""

from typing import get_args

import pytest
import torch
from safetensors.torch import save_file

from admn_ros.cli import importing, main
from admn_ros.config import BackboneConfig, ModalityConfig, load_config
from admn_ros.config import ModelConfig as Config
from admn_ros.model import presets
from admn_ros.model.checkpoint import create_random_model, load_model
from admn_ros.model.official.import_checkpoint import Source
from admn_ros.model.official.noise_head import Qoi
from admn_ros.sample import Modality
from helpers import official_network as official


@pytest.fixture
def small(monkeypatch):
    """A preset with two layers, so that files stay small."""
    whole = presets.preset("gdtm-tiny")
    backbone = BackboneConfig(dim=96, depth=2, heads=3)
    config = whole.model_copy(update={"modalities": {
        m: ModalityConfig(input=c.input, backbone=backbone, adapter_hidden=8) for m, c in whole.modalities.items()}})
    monkeypatch.setitem(presets.PRESETS, "small", lambda: config)
    return config


@pytest.fixture
def mae(tmp_path):
    """A file of MAE's names: 14 x 14 patches of three channels, decoder and all."""
    make = official.Maker(3)
    state = official.vit_state(make, 96, 3, 196) | {"mask_token": make(1, 1, 16)} | make.linear("decoder_pred", 9, 16)
    torch.save({"model": state, "epoch": 1}, tmp_path / "mae.pth")
    return tmp_path / "mae.pth", state


def import_(*arguments):
    return main(["import", *map(str, arguments)])


def test_backbones_go_into_a_new_folder_and_unloaded_parts_are_reported(tmp_path, small, mae, capsys):
    file, state = mae
    out = tmp_path / "m"
    assert import_(file, out, "--preset", "small", "--seed", "4") == 0
    output = capsys.readouterr().out
    for text in ("rgb", "depth", "loaded, interpolated", "pos_embed", "decoder_pred", "mask_token", "not used",
                 "14 x 14 patches to 6 x 6", "last layers that are not used: 1", "read as mae"):
        assert text in " ".join(output.split()), text
    network = load_model(out)
    assert (network.config.trained, network.config.seed) == (False, 4)
    for modality in (Modality.RGB, Modality.DEPTH):
        vit = network.backbone(modality)
        assert torch.equal(vit.blocks[1].mlp.fc1.weight, state["blocks.1.mlp.fc1.weight"])
        assert torch.equal(vit.cls_token, state["cls_token"])
    create_random_model(small, tmp_path / "plain", 4)
    plain = load_model(tmp_path / "plain").state_dict()
    untouched = [n for n in plain if not n.startswith(("backbones.rgb", "backbones.depth"))]
    assert all(torch.equal(network.state_dict()[n], plain[n]) for n in untouched)
    card = (out / "README.md").read_text()
    assert "UNTRAINED" in card and "Backbone of depth" in card and "mae.pth" in card


def test_a_backbone_inside_of_another_network(tmp_path, small, mae, capsys):
    _, state = mae
    file, out = tmp_path / "whole.ckpt", tmp_path / "m"
    parts = {f"_orig_mod.model.vit.{name}": value for name, value in state.items()}
    torch.save({"state_dict": parts | {"loss.weight": torch.ones(2)}}, file)
    assert import_(file, out, "--preset", "small", "--modality", "rgb") == 0
    assert "loss" in capsys.readouterr().out
    assert torch.equal(load_model(out).backbone(Modality.RGB).cls_token, state["cls_token"])
    torch.save({"state_dict": parts | {f"average.{name}": -value for name, value in state.items()}}, file)
    assert import_(file, tmp_path / "n", "--preset", "small") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(": found 2 networks: model.vit, average; allowed: one; --key chooses it, "
                         "such as --key model.vit")
    assert not (tmp_path / "n").exists()
    assert import_(file, out, "--key", "average", "--modality", "rgb") == 0
    assert torch.equal(load_model(out).backbone(Modality.RGB).cls_token, -state["cls_token"])


def test_a_second_file_goes_into_the_same_folder(tmp_path, small, mae, capsys):
    file, _ = mae
    out = tmp_path / "m"
    make = official.Maker(6)
    sound = official.vit_state(make, 96, 2, 512, channels=1) | make.linear("decoder_embed", 16, 96)
    save_file(sound, tmp_path / "sound.safetensors")
    assert import_(file, out, "--preset", "small", "--modality", "rgb") == 0
    rgb = load_model(out).backbone(Modality.RGB).state_dict()
    assert import_(tmp_path / "sound.safetensors", out) == 0
    assert "read as audiomae" in capsys.readouterr().out
    network = load_model(out)
    assert torch.equal(network.backbone(Modality.AUDIO).blocks[0].norm1.weight, sound["blocks.0.norm1.weight"])
    assert all(torch.equal(v, rgb[n]) for n, v in network.backbone(Modality.RGB).state_dict().items())
    card = (out / "README.md").read_text()
    assert card.count("## Backbone of") == 2


def test_a_trained_model_keeps_its_backbones_unless_forced(tmp_path, small, mae, capsys):
    out = tmp_path / "m"
    create_random_model(small, out, 0)
    text = (out / "config.yaml").read_text().replace("trained: false", "trained: true")
    (out / "config.yaml").write_text(text)
    before = (out / "weights.safetensors").read_bytes()
    assert import_(mae[0], out) == 2
    assert "trained" in capsys.readouterr().err
    assert (out / "weights.safetensors").read_bytes() == before
    assert import_(mae[0], out, "--force") == 0
    assert not load_config(Config, out / "config.yaml").trained


@pytest.mark.parametrize(("arguments", "expected"), [
    (["{mae}", "{tmp}/new"], "preset"),
    (["{mae}", "{tmp}/new", "--preset", "gpt"], "gpt"),
    (["{mae}", "{tmp}/new", "--preset", "rgbd", "--modality", "radar"], "radar"),
    (["{tmp}/narrow.pt", "{tmp}/new", "--preset", "small"], "96"),
    (["{mae}", "{tmp}/new", "--preset", "small", "--nodes", "3"], "nodes"),
    (["{mae}", "{tmp}/new", "--preset", "small", "--kind", "admn-gdtm"], "preset"),
    (["{mae}", "{tmp}/new", "--kind", "admn-ave"], "vision_adapter"),
    (["{tmp}/none.pt", "{tmp}/new", "--preset", "small"], "none.pt"),
    (["{tmp}/text.pt", "{tmp}/new", "--preset", "small"], "broken"),
    (["{tmp}/nan.pt", "{tmp}/new", "--preset", "small"], "rgb.blocks.1.norm1.bias"),
    (["{tmp}/code.pt", "{tmp}/new", "--preset", "small"], "only code"),
    (["{tmp}/hub.pt", "{tmp}/new", "--preset", "small"], "patch_embed"),
    (["{mae}", "{tmp}/text.pt", "--preset", "small"], "text.pt"),
    (["{mae}", "{tmp}/new", "--preset", "small", "--qoi", "untrained"], "qoi"),
])
def test_an_invalid_import_is_one_line_and_leaves_no_folder(tmp_path, small, mae, capsys, arguments, expected):
    file, state = mae
    (tmp_path / "text.pt").write_text("this is no checkpoint\n")
    torch.save(state | {"blocks.1.norm1.bias": torch.full((96,), torch.nan)}, tmp_path / "nan.pt")
    torch.save({"model": state, "hook": Config}, tmp_path / "code.pt")
    torch.save(official.vit_state(official.Maker(), 48, 2), tmp_path / "narrow.pt")
    torch.save({"vit.embeddings.cls_token": torch.zeros(1, 1, 96)}, tmp_path / "hub.pt")
    assert import_(*(a.format(mae=file, tmp=tmp_path) for a in arguments)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("admn import: ") and expected in lines[0]
    assert any(shape in lines[0] for shape in ("allowed: ", "required: ", "conflicts with ")), lines
    assert not (tmp_path / "new").exists()


def test_the_command_offers_what_the_library_takes():
    assert get_args(Source) == importing.KINDS
    assert get_args(Qoi) == importing.QOI
    assert set(importing.MODALITIES) == {str(m) for m in Modality}
