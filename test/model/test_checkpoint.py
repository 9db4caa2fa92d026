# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from admn_ros.errors import ConfigError, InputError, ModelError
from admn_ros.model.checkpoint import create_random_model, load_model, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.presets import PRESETS, preset
from admn_ros.sample import Modality

FULL = {Modality.DEPTH: range(4), Modality.RADAR: range(3)}


@pytest.fixture
def folder(config, tmp_path):
    create_random_model(config, tmp_path / "model", seed=7)
    return tmp_path / "model"


def change(folder, edit):
    weights = load_file(folder / "weights.safetensors")
    edit(weights)
    save_file(weights, folder / "weights.safetensors")


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_is_the_same_after_saving_and_loading(network, batch, tmp_path):
    save_model(network, tmp_path, card="# mine\n")
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert loaded.config == network.config
    assert (tmp_path / "README.md").read_text() == "# mine\n"
    for x, y in zip(network.estimate(batch, FULL), loaded.estimate(batch, FULL), strict=True):
        assert torch.equal(x, y)
    assert torch.equal(network.controller(batch).e_corr, loaded.controller(batch).e_corr)


def test_half_weights_take_half_the_space(network, tmp_path):
    save_model(network, tmp_path / "full")
    save_model(network, tmp_path / "half", half=True)
    full, half = (load_file(tmp_path / name / "weights.safetensors") for name in ("full", "half"))
    assert all(half[n].nbytes * 2 == x.nbytes for n, x in full.items() if x.is_floating_point())
    loaded = load_model(tmp_path / "half")
    for name, weight in network.state_dict().items():
        if weight.is_floating_point():
            assert loaded.state_dict()[name].dtype == torch.float32
            assert torch.equal(loaded.state_dict()[name], weight.half().float()), name
        else:
            assert torch.equal(loaded.state_dict()[name], weight), name


def test_a_weight_beyond_16_bits_is_refused(network, tmp_path):
    name, weight = next((n, w) for n, w in network.named_parameters() if w.numel() > 3)
    weight.data.flatten()[0] = 1e5
    with pytest.raises(InputError) as error:
        save_model(network, tmp_path / "half", half=True)
    assert one_line(error) == f"weight {name}: found 100000; allowed: at most 65504, in 16 bits"
    assert not (tmp_path / "half").exists()


def test_the_same_seed_gives_the_same_bytes(config, folder, tmp_path):
    create_random_model(config, tmp_path / "same", seed=7)
    create_random_model(config, tmp_path / "other", seed=8)
    weights = (folder / "weights.safetensors").read_bytes()
    assert weights == (tmp_path / "same" / "weights.safetensors").read_bytes()
    assert weights != (tmp_path / "other" / "weights.safetensors").read_bytes()


def test_every_weight_comes_from_the_seed(config, tmp_path):
    torch.manual_seed(1)
    create_random_model(config, tmp_path / "a", seed=7)
    torch.manual_seed(2)
    create_random_model(config, tmp_path / "b", seed=7)
    assert (tmp_path / "a/weights.safetensors").read_bytes() == (tmp_path / "b/weights.safetensors").read_bytes()


def test_the_card_of_a_random_model_warns(config, tmp_path):
    create_random_model(config.model_copy(update={"trained": True}), tmp_path, seed=7)
    loaded = load_model(tmp_path)
    assert (loaded.config.trained, loaded.config.seed) == (False, 7)
    card = (tmp_path / "README.md").read_text()
    assert "UNTRAINED" in card
    assert "meaningless" in card


def test_a_model_is_not_overwritten_by_accident(config, folder):
    before = (folder / "weights.safetensors").read_bytes()
    (folder / "costs.yaml").write_text("old")
    with pytest.raises(ModelError, match="force"):
        create_random_model(config, folder, seed=8)
    assert (folder / "weights.safetensors").read_bytes() == before
    create_random_model(config, folder, seed=8, force=True)
    assert (folder / "weights.safetensors").read_bytes() != before
    assert not (folder / "costs.yaml").exists()


def test_the_readme_of_another_folder_is_kept(config, tmp_path, monkeypatch):
    """An empty path, as of a variable without a value, is the working folder."""
    (tmp_path / "README.md").write_text("# a repository\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"files of a model \(README\.md\); allowed: a new folder, or force"):
        create_random_model(config, "", seed=7)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("README.md", "# a repository\n")]


def test_nothing_partial_is_left(folder):
    assert {p.name for p in folder.iterdir()} == {"config.yaml", "weights.safetensors", "README.md"}


def test_missing_folder(tmp_path):
    with pytest.raises(ModelError, match="a model folder") as error:
        load_model(tmp_path / "nowhere")
    assert "nowhere" in one_line(error)


@pytest.mark.parametrize("name", ["config.yaml", "weights.safetensors"])
def test_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError) as error:
        load_model(folder)
    assert error.value.field.endswith(name)


def test_malformed_config(folder):
    (folder / "config.yaml").write_text("name: x\n")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_model(folder)


@pytest.mark.parametrize("size", [0, 4, 100, -10])
def test_truncated_weights(folder, size):
    data = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(data[:size])
    with pytest.raises(ModelError, match="broken" if size else "found an empty file") as error:
        load_model(folder)
    one_line(error)


def test_garbage_weights(folder):
    (folder / "weights.safetensors").write_bytes(b"\x80\x04pickle" * 100)
    with pytest.raises(ModelError, match="broken"):
        load_model(folder)


def test_missing_and_unexpected_weights(folder):
    def edit(weights):
        for i in range(4):
            del weights[f"backbones.depth.blocks.{i}.norm1.bias"]
        weights["head.weight"] = torch.zeros(2)

    change(folder, edit)
    with pytest.raises(ModelError) as error:
        load_model(folder)
    text = one_line(error)
    assert "missing: backbones.depth.blocks.0.norm1.bias" in text
    assert "and 1 more" in text
    assert "unexpected: head.weight" in text


@pytest.mark.parametrize(("content", "found"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "a Git LFS pointer; `git lfs pull`"),
    (b"<html><body>404</body></html>", "a web page")])
@pytest.mark.parametrize("name", ["weights.safetensors", "config.yaml"])
def test_a_file_that_was_not_downloaded(folder, name, content, found):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: found {found}") as error:
        load_model(folder)
    one_line(error)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn])
def test_quantized_weights(folder, dtype):
    change(folder, lambda w: w.update({"fusion.encoder.norm.bias": torch.ones(12).to(dtype)}))
    with pytest.raises(ModelError, match=r"fusion\.encoder\.norm\.bias: found \w+ values without a scale"):
        load_model(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision(folder, dtype):
    saved = load_model(folder).state_dict()
    change(folder, lambda w: w.update({name: value.to(dtype) for name, value in w.items()}))
    loaded = load_model(folder).state_dict()
    for name, value in saved.items():
        assert loaded[name].dtype == torch.float32
        torch.testing.assert_close(loaded[name], value, rtol=0.01, atol=0.01)


def test_a_configuration_beyond_all_memory_is_refused_by_the_weights(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for width, says in ((2**16, "allowed: (65536,"), (10**9, "fusion.dim: found 1000000000 (int); allowed: ")):
        config["fusion"] |= {"dim": width, "heads": 4}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        with pytest.raises(InputError) as error:
            load_model(folder)
        assert says in one_line(error)


def test_weights_of_another_shape(folder):
    change(folder, lambda w: w.update({"fusion.encoder.norm.bias": torch.zeros(13)}))
    with pytest.raises(ModelError, match=r"fusion\.encoder\.norm\.bias: found \(13,\); allowed: \(12,\)"):
        load_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder, value):
    change(folder, lambda w: w["backbones.radar.pos_embed"].view(-1)[3:4].fill_(value))
    with pytest.raises(ModelError, match=r"backbones\.radar\.pos_embed.*finite"):
        load_model(folder)


def test_a_folder_that_cannot_be_written(network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="writable"):
        save_model(network, tmp_path / "file" / "model")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_describe_networks_that_can_be_built(name):
    config = preset(name)
    assert config.name == name
    with torch.device("meta"):
        network = AdmnNetwork(config)
    depth = 1 if name == "rgb-radar" else 12
    assert {m: v.depth for m, v in network.backbones.items()} == dict.fromkeys(map(str, config.modalities), depth)


def test_the_network_of_the_paper_has_its_size():
    with torch.device("meta"):
        network = AdmnNetwork(preset("gdtm"))
    # ViT-B without its unused ImageNet head, and a controller of 2.3 % of the network (Section 5).
    assert sum(p.numel() for p in network.backbone(Modality.RGB).parameters()) == 85_798_656
    share = sum(p.numel() for p in network.qoi.parameters()) / sum(p.numel() for p in network.parameters())
    assert share == pytest.approx(0.023, abs=0.001)


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(InputError, match="gdtm-tiny"):
        preset("gdtm-huge")


def test_weights_under_their_older_names_are_read(tmp_path):
    config = preset("gdtm-room")
    network = create_random_model(config, tmp_path, seed=1)
    now = load_file(tmp_path / "weights.safetensors")
    old = {name.replace("qoi.stems.", "qoi.look.").replace("localization.output.", "localization.said.")
           .replace(".points.keys_values.", ".points.held."): value for name, value in now.items()}
    assert len(set(old) - set(now)) == 40
    save_file(old, tmp_path / "weights.safetensors")
    loaded = load_model(tmp_path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())
