# SPDX-License-Identifier: Apache-2.0
"""Stage 0: masked pretraining with LayerDrop, and later stages that start from it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from admn_ros.config import BackboneConfig, ModelConfig, parse_config
from admn_ros.datasets.shard_dataset import ShardDataset
from admn_ros.errors import ConfigError
from admn_ros.model.checkpoint import create_random_model, load_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.backbones import load_backbone
from admn_ros.model.official.safe_unpickle import read_foreign
from admn_ros.model.vit import AdaptiveViT
from admn_ros.sample import Modality, SampleBatch
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.loop import TrainingProgress, fit
from admn_ros.training.run import train
from admn_ros.training.stage import Stage, Step
from admn_ros.training.stages.pretrain import (
    MaskedDecoderConfig,
    Pretrain,
    PretrainConfig,
    draw_encoder_layers,
    public_state,
)
from helpers.runs import metrics_of

RGB, DEPTH, AUDIO = Modality.RGB, Modality.DEPTH, Modality.AUDIO
DECODER = MaskedDecoderConfig(dim=32, depth=1, heads=2)
CONFIG = PretrainConfig(decoder=DECODER)


def step(seed: int = 0) -> Step:
    return Step(0, 1, torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1))


def batch_of(inputs: Mapping[Modality, Tensor], present: bool = True) -> LabeledBatch:
    count = len(next(iter(inputs.values())))
    here = {m: torch.full(x.shape[:2], present) for m, x in inputs.items()}
    return LabeledBatch(SampleBatch(inputs, here), torch.zeros(count, 3), torch.zeros(count, dtype=torch.bool),
                        torch.full((count,), -1), {})


def real_batch(dataset: Path, model: ModelConfig) -> LabeledBatch:
    return next(Samples(ShardDataset(dataset, "train"), model).batches(0, 4, shuffle=False))


@pytest.fixture
def file(dataset: Path, tmp_path: Path) -> Path:
    optimizer = {"batch": 6, "epochs": 2, "learning_rate": 0.001, "seed": 4, "weight_decay": 0.05}
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({
        "data": {"folder": str(dataset)},
        "pretrain": {"optimizer": optimizer, "decoder": {"dim": 32, "depth": 1, "heads": 2}},
        "finetune": {"optimizer": {"batch": 6, "epochs": 1, "seed": 4}}}))
    return path


@pytest.fixture
def start(model: ModelConfig, tmp_path: Path) -> Path:
    create_random_model(model, tmp_path / "start", seed=0)
    return tmp_path / "start"


def test_layerdrop_rate_and_never_all() -> None:
    generator = torch.Generator().manual_seed(3)
    kept = torch.zeros(4000, 12)
    for row in kept:
        row[list(draw_encoder_layers(0.2, 12, generator))] = 1
    assert (kept.mean(dim=0) - 0.8).abs().max() < 4.5 * math.sqrt(0.16 / 4000)
    assert abs(kept.sum(dim=1).var() - 12 * 0.16) < 0.2  # each on its own
    assert {len(draw_encoder_layers(0.9, 2, generator)) for _ in range(200)} == {1, 2}
    assert draw_encoder_layers(0.0, 12, generator) == tuple(range(12))


def test_a_dropped_layer_is_not_run(dataset: Path, model: ModelConfig, network: AdmnNetwork) -> None:
    stage = Pretrain(network, CONFIG.model_copy(update={"layerdrop": 0.5}))
    ran: list[int] = []
    for i, block in enumerate(network.backbone(DEPTH).blocks):
        block.register_forward_hook(lambda *_, i=i: ran.append(i))
    batch, now = real_batch(dataset, model), step()
    drawn = torch.Generator().manual_seed(0)
    for _ in range(10):
        ran.clear()
        stage.losses(batch, now)
        wanted = {m: draw_encoder_layers(0.5, 3, drawn) for m in model.modalities}
        assert tuple(ran) == wanted[DEPTH]
    # Validation runs the whole backbone and half of it.
    ran.clear()
    stage.validate([batch])
    assert ran == [0, 1, 2, 0]


def test_only_backbones_and_decoders_are_trained(network: AdmnNetwork) -> None:
    names = Pretrain(network, CONFIG).trainable()
    assert {n.removeprefix("network.").split(".")[0] for n in names} == {"backbones", "decoders"}
    assert {n.removeprefix("network.").split(".")[1] for n in names} == {"rgb", "depth", "audio"}
    trained = Pretrain(network, CONFIG.model_copy(update={"modalities": (RGB,)})).trainable()
    assert {n.split(".")[2] for n in trained if n.startswith("network.")} == {"rgb"}
    assert {n.split(".")[1] for n in trained if n.startswith("decoders.")} == {"rgb"}
    assert not any("pos_embed" in n for n in trained)
    kept = Pretrain(network, CONFIG.model_copy(update={"positions": "keep"})).trainable()
    assert "network.backbones.rgb.pos_embed" in kept


@pytest.mark.slow
def test_a_tiny_batch_is_learned(network: AdmnNetwork, model: ModelConfig) -> None:
    # Four wallpapers: what one patch shows, all of its picture show.
    tiles = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    rgb = tiles.repeat(1, 4, 4)[:, None, None].expand(-1, 1, 3, -1, -1).contiguous()
    mel = tiles.repeat(1, 2, 2)[:, None, None].contiguous()
    stage = Pretrain(network, CONFIG.model_copy(update={"modalities": (RGB, AUDIO), "layerdrop": 0.1,
                                                        "mask": {AUDIO: 0.5}}))
    batch, now = batch_of({RGB: rgb, AUDIO: mel}), step()
    before = stage.validate([batch])
    assert before["rgb/mean"] == pytest.approx(1, abs=0.01)
    assert before["rgb/share"] > 0.9
    optimizer = torch.optim.Adam(stage.trainable().values(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        sum(stage.losses(batch, now).values(), torch.zeros(())).backward()
        optimizer.step()
    with torch.no_grad():
        after = stage.validate([batch])
    assert after["rgb/share"] < 0.5
    assert after["audio/share"] < 0.5
    assert after["rgb/error"] < 0.7 * after["rgb/place"]  # better than any constant prediction
    assert stage.validate([batch]) == after  # the same masks every time


def test_errors_of_constant_predictions(network: AdmnNetwork) -> None:
    stage = Pretrain(network, CONFIG.model_copy(update={"modalities": (AUDIO,)}))
    same = torch.randn(1, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    batches = [batch_of({AUDIO: same.expand(3, 2, -1, -1, -1)}) for _ in range(2)]
    with torch.no_grad():
        assert stage.validate(batches)["audio/place"] == pytest.approx(0, abs=1e-5)  # always the same picture
        opposite = stage.validate([batch_of({AUDIO: torch.cat([same, -same])})])
    assert opposite["audio/place"] == pytest.approx(opposite["audio/mean"], rel=1e-5)


def test_absent_inputs_have_no_effect(dataset: Path, model: ModelConfig,
                                                          network: AdmnNetwork) -> None:
    stage, batch = Pretrain(network, CONFIG), real_batch(dataset, model)
    absent = LabeledBatch(SampleBatch(batch.samples.inputs, {**batch.samples.present, RGB: torch.zeros(4, 2).bool()}),
                          batch.position_m, batch.located, batch.label, batch.severity)
    losses = stage.losses(absent, step())
    assert losses["rgb"] == 0
    assert not losses["rgb"].requires_grad
    figures = stage.validate([absent])
    assert {name.split("/")[0] for name in figures} == {"depth", "audio"}


def test_from_pretraining_to_finetuning(file: Path, start: Path, model: ModelConfig, tmp_path: Path) -> None:
    made = train(file, "pretrain", tmp_path / "a", model=start, device="cpu")
    first, after = load_model(start), load_model(made)
    assert not after.config.trained
    state = after.state_dict()
    changed = {n for n, v in first.state_dict().items() if not torch.equal(v, state[n])}
    assert {n.split(".")[0] for n in changed} == {"backbones"}
    assert {n.split(".")[1] for n in changed} == {"rgb", "depth", "audio"}
    assert "UNTRAINED" in (made / "README.md").read_text()
    tuned = load_model(train(file, "finetune", tmp_path / "b", model=made, device="cpu"))
    assert tuned.config.trained
    for modality, entry in model.modalities.items():
        weights = load_file(tmp_path / "a" / f"mae-{modality}.safetensors")
        assert set(weights) == {
            "cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias",
            *(f"blocks.{i}.{part}.{kind}" for i in range(3) for kind in ("weight", "bias")
              for part in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"))}
        vit = AdaptiveViT(entry.input.shape, entry.backbone)
        report = load_backbone(vit, read_foreign(tmp_path / "a" / f"mae-{modality}.safetensors"))
        assert report.missing == report.ignored == report.interpolated == ()
        x = torch.randn(2, *entry.input.shape)
        assert torch.equal(vit(x, (0, 2)), after.backbone(modality)(x, (0, 2)))


def test_audiomae_proportions_are_written_in_its_orientation() -> None:
    torch.manual_seed(0)
    config = BackboneConfig(dim=16, depth=1, heads=2, patch=(4, 8))
    first, second = (AdaptiveViT((1, 8, 128), config) for _ in range(2))
    for p in first.parameters():
        torch.nn.init.normal_(p)
    state = public_state(first, (2, 16))
    assert state["patch_embed.proj.weight"].shape == (16, 1, 8, 4)
    report = load_backbone(second, state)
    assert any("audiomae" in note for note in report.notes)
    assert all(torch.equal(v, second.state_dict()[n]) for n, v in first.state_dict().items())


def test_copies(file: Path, start: Path, tmp_path: Path) -> None:
    made = load_model(train(file, "pretrain", tmp_path / "a", model=start, device="cpu",
                           settings=["pretrain.modalities=[rgb]", "pretrain.copies={depth: rgb}"]))
    rgb, depth = (made.backbone(m).state_dict() for m in (RGB, DEPTH))
    assert all(torch.equal(depth[n], v) for n, v in rgb.items() if n != "patch_embed.proj.weight")
    grey = rgb["patch_embed.proj.weight"].sum(dim=1, keepdim=True)  # one channel for three alike
    torch.testing.assert_close(depth["patch_embed.proj.weight"], grey)
    assert torch.equal(made.backbone(AUDIO).norm.weight, load_model(start).backbone(AUDIO).norm.weight)


def test_a_convolutional_stem(file: Path, model: ModelConfig, tmp_path: Path) -> None:
    raw = model.model_dump(mode="json")
    raw["modalities"]["rgb"]["backbone"] |= {"stem": "conv", "points": 2}
    create_random_model(parse_config(ModelConfig, raw, "conv"), tmp_path / "conv", seed=0)
    made = load_model(train(file, "pretrain", tmp_path / "a", model=tmp_path / "conv", device="cpu",
                           settings=["pretrain.modalities=[rgb]"]))
    before = load_model(tmp_path / "conv").backbone(RGB)
    assert not torch.equal(before.patch_embed.proj.weight, made.backbone(RGB).patch_embed.proj.weight)
    assert torch.equal(before.points.query.weight, made.backbone(RGB).points.query.weight)
    assert not list((tmp_path / "a").glob("mae-*"))  # no public model has such a stem


class InterruptError(Exception):
    """Stands in for a power failure."""


@pytest.mark.slow
def test_resumed_run_is_bit_identical_and_depends_on_the_seed(file: Path, start: Path, tmp_path: Path) -> None:
    def run(folder: str, **arguments: object) -> dict[str, Tensor]:
        made = train(file, "pretrain", tmp_path / folder, model=start, device="cpu", **arguments)  # type: ignore[arg-type]
        return load_model(made).state_dict()

    def down(report: TrainingProgress) -> None:
        if report.epoch == 1:
            raise InterruptError

    whole = run("whole")
    with pytest.raises(InterruptError):
        run("parts", on_progress=down)
    torch.rand(17)
    parts = run("parts", resume=True)
    assert all(torch.equal(parts[n], v) for n, v in whole.items())
    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")
    other = run("other", seed=5)
    assert not all(torch.equal(other[n], v) for n, v in whole.items())


def test_image_and_audio_folders(file: Path, start: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 2)):
        folder = tmp_path / "pictures" / split / "cat"
        folder.mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / f"{i}.JPEG"), rng.integers(0, 255, (40, 50, 3), np.uint8))
    made = train(file, "pretrain", tmp_path / "a", model=start, device="cpu", data=tmp_path / "pictures",
                settings=["data.source=image_folder", "pretrain.modalities=[rgb]"])
    after = load_model(made).state_dict()
    changed = {n.split(".")[1] for n, v in load_model(start).state_dict().items() if not torch.equal(v, after[n])}
    assert changed == {"rgb"}
    with pytest.raises(ConfigError, match=r"pretrain\.modalities: found rgb, depth, audio"):
        train(file, "pretrain", tmp_path / "b", model=start, device="cpu", data=tmp_path / "pictures",
             settings=["data.source=image_folder"])


@pytest.mark.parametrize(("settings", "error"), [
    (["pretrain.modalities=[radar]"], r"pretrain\.modalities"),
    (["pretrain.copies={depth: rgb}"], r"pretrain\.copies\.depth"),
    (["data.corruption=room-all"], r"data\.corruption"),
    (["pretrain.mask={rgb: 1.0}"], r"pretrain\.mask"),
    (["pretrain.decoder.dim=30"], r"pretrain\.decoder\.dim"),
    (["pretrain.decoder.heads=3"], r"pretrain\.decoder"),
])
def test_errors_are_reported_before_training(file: Path, start: Path, tmp_path: Path, settings: list[str],
                                           error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        train(file, "pretrain", tmp_path / "run", model=start, device="cpu", settings=settings)
    assert not (tmp_path / "run").exists()


class Constant(Stage):
    """A layer with a constant loss."""

    name = "pretrain"

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        return {"nothing": sum((p.sum() * 0 for p in self.module.parameters()), torch.zeros(()))}

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        return {}


def test_weight_decay_is_of_matrices(dataset: Path, model: ModelConfig, tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    before = {n: p.detach().clone() for n, p in layer.named_parameters()}
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.5, batch=12, epochs=1)
    fit(Constant(layer), Samples(ShardDataset(dataset, "train"), model), None, config, tmp_path)
    torch.testing.assert_close(layer.weight, before["weight"] * (1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, before["bias"])
