# SPDX-License-Identifier: Apache-2.0
"""Stage 0: masked autoencoding with LayerDrop in the encoder, for each backbone on its own (Section 3.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from safetensors.torch import save
from torch import Tensor, nn

from admn_ros.baselines.orders import every_other
from admn_ros.config import ModelConfig, Positive, Strict
from admn_ros.datasets.image_folder import NODE
from admn_ros.errors import ConfigError
from admn_ros.files import write_bytes
from admn_ros.model.masked_autoencoder import (
    Grid,
    Mask,
    MaskedDecoder,
    draw_mask,
    encode_visible,
    grid_code,
    hidden_error,
    normalize_patches,
    patchify,
)
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.backbones import AUDIOMAE_ROWS, load_backbone
from admn_ros.model.present_nodes import present_rows
from admn_ros.model.vit import AdaptiveViT
from admn_ros.sample import Modality
from admn_ros.training.config import DataConfig, OptimizerConfig, Rate
from admn_ros.training.data import LabeledBatch, Samples
from admn_ros.training.seeding import DECODER, MASKS, VALIDATION, derive, generator
from admn_ros.training.sources import cache_sizes, open_split
from admn_ros.training.stage import Stage, StageConfig, Step, freeze
from admn_ros.training.stages.augmentation import AugmentConfig, AugmentedSamples

_SINGLE = {"image_folder": Modality.RGB, "audio_folder": Modality.AUDIO}
"""Sources of single files, and the only modality that they have."""


class MaskedDecoderConfig(Strict):
    """Decoder of masked pretraining, discarded afterwards. He et al. 2022: 8 layers, 512 wide, 16 heads.

    Attributes:
        dim: width.
        depth: number of layers.
        heads: number of attention heads; divides `dim`.
    """

    dim: Annotated[int, Field(ge=4, le=4096, multiple_of=4)] = 512
    depth: Annotated[int, Field(ge=1, le=64)] = 8
    heads: Annotated[int, Field(ge=1, le=4096)] = 16

    @model_validator(mode="after")
    def _heads_divide(self) -> MaskedDecoderConfig:
        if self.dim % self.heads:
            raise ValueError(f"heads {self.heads} does not divide dim {self.dim}")
        return self


class PretrainConfig(StageConfig):
    """Stage 0, masked autoencoding with LayerDrop in the encoder (Section 3.3.2).

    Attributes:
        modalities: modalities whose backbones are trained; empty for all of the model.
        layerdrop: probability of each encoder layer to be dropped, drawn per batch and modality.
        mask: fraction of patches that are masked. Default 0.75, and 0.8 for audio (He et al. 2022; Huang et al. 2022).
        variance_floor: added to the variance of a patch before its values are normalized, so that the noise of a flat
            patch is no target.
        positions: position code of the encoder. sincos: set to the fixed code of MAE, not trained; keep: the model's
            own, trained.
        decoder: decoder of each modality.
        augment: augmentation of the training samples.
        copies: other backbone -> pretrained backbone whose weights it gets at the end, such as depth from rgb in the
            paper.
    """

    from_preset: ClassVar[bool] = True

    optimizer: OptimizerConfig = OptimizerConfig(schedule="cosine", warm_up_epochs=40, betas=(0.9, 0.95),
                                                 weight_decay=0.05, epochs=800)
    modalities: tuple[Modality, ...] = ()
    layerdrop: Rate = 0.2
    mask: dict[Modality, Annotated[float, Field(gt=0, lt=1)]] = Field(default={})
    variance_floor: Positive = 1e-6
    positions: Literal["sincos", "keep"] = "sincos"
    decoder: MaskedDecoderConfig = MaskedDecoderConfig()
    augment: AugmentConfig = AugmentConfig()
    copies: dict[Modality, Modality] = Field(default={})

    def masked(self, modality: Modality) -> float:
        """Return the fraction of a modality's patches that are masked."""
        return self.mask.get(modality, 0.8 if modality is Modality.AUDIO else 0.75)

    def trained(self, model: ModelConfig) -> tuple[Modality, ...]:
        """Return the modalities of a model that a run trains.

        Raises:
            ConfigError: `modalities` names one that the model does not have, or one twice.
        """
        chosen = self.modalities or tuple(model.modalities)
        if not set(chosen) <= set(model.modalities) or len(set(chosen)) < len(chosen):
            raise ConfigError("pretrain.modalities", ", ".join(chosen),
                              f"some of {', '.join(model.modalities)}, each once")
        return chosen

    def make(self, network: AdmnNetwork) -> Pretrain:
        """Set up the stage on a network, in place."""
        return Pretrain(network, self)

    def open_samples(self, data: DataConfig, model: ModelConfig) -> tuple[Samples, Samples]:
        """Open augmented training samples, and validation samples as they are, of the trained modalities only.

        The single files of a folder are samples of one sensor node.

        Raises:
            ConfigError: no folder is named, or the source does not have the trained modalities.
            InputError: a dataset cannot be read, or is empty.
        """
        return open_backbone_samples("pretrain", self.trained(model), self.augment, self.optimizer.seed, data, model)


def open_backbone_samples(stage: str, chosen: tuple[Modality, ...], augment: AugmentConfig, seed: int, data: DataConfig,
                          model: ModelConfig) -> tuple[Samples, Samples]:
    """Open augmented training samples, and validation samples as they are, of some modalities of a model only.

    Args:
        stage: name of the stage, for errors.
        chosen: modalities.
        augment: augmentation of the training samples.
        seed: seed of order and augmentation.
        data: data section of the training file.
        model: model that the samples are for.

    Raises:
        ConfigError: no folder is named, the source does not have the modalities, or a corruption is asked for.
        InputError: a dataset cannot be read, or is empty.
    """
    if data.corruption is not None:
        raise ConfigError("data.corruption", data.corruption, "null: pretraining uses uncorrupted samples")
    nodes = model.sensor_nodes
    if data.source in _SINGLE:
        if chosen != (_SINGLE[data.source],):
            raise ConfigError(f"{stage}.modalities", ", ".join(chosen),
                              f"{_SINGLE[data.source]}, the only modality of {data.source}")
        nodes = (NODE,)
    # Only trained modalities are decoded and kept in memory.
    part = model.model_copy(update={"sensor_nodes": nodes, "modalities": {m: model.modalities[m] for m in chosen}})
    train, validation = open_split(data, data.train), open_split(data, data.validation)
    train_mb, validation_mb = cache_sizes(data, train, validation)
    return (AugmentedSamples(train, part, augment, seed=seed, repeats=data.repeats, draws=data.draws,
                             cache_mb=train_mb, workers=data.workers, windows=data.windows == "random"),
            Samples(validation, part, seed=derive(seed, VALIDATION), cache_mb=validation_mb, workers=data.workers))


class Pretrain(Stage):
    """Masked autoencoding of some backbones of a network. Everything else of the network is frozen.

    The readout of points is not trained, because it requires the tokens of all patches.

    Raises:
        ConfigError: `modalities` or `copies` do not fit the model, or a width does not fit the position code.
    """

    name: ClassVar[str] = "pretrain"

    def __init__(self, network: AdmnNetwork, config: PretrainConfig) -> None:
        self.network, self.config = network, config
        self.modalities = config.trained(network.config)
        check_copies("pretrain", config.copies, self.modalities, network.config)
        freeze(network)
        for modality in self.modalities:
            vit = network.backbone(modality)
            freeze(vit, [vit.patch_embed, vit.blocks, vit.norm])
            vit.cls_token.requires_grad_(True)
            vit.pos_embed.requires_grad_(config.positions == "keep")
            if config.positions == "sincos":
                with torch.no_grad():
                    vit.pos_embed.copy_(grid_code(self._grid(modality), vit.dim))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(config.optimizer.seed, DECODER))
            self.decoders = nn.ModuleDict({str(m): self._decoder(m) for m in self.modalities})
        super().__init__(nn.ModuleDict({"network": network, "decoders": self.decoders}))

    def losses(self, batch: LabeledBatch, step: Step) -> Mapping[str, Tensor]:
        """Return the error of the masked patches per modality, with masks drawn per input and layers per batch."""
        found = {}
        for modality in self.modalities:
            layers = draw_encoder_layers(self.config.layerdrop, self.network.backbone(modality).depth, step.draws)
            rows, _ = present_rows(batch.samples.inputs[modality], batch.samples.present[modality])
            if not len(rows):
                found[str(modality)] = rows.new_zeros(())
                continue
            target, mask = self._target(modality, rows), self._mask(modality, len(rows), step.noise)
            found[str(modality)] = hidden_error(self._guess(modality, rows, mask, layers), target, mask)
        return found

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Return the errors of each modality over the split, with the same masks in every epoch.

        `rgb/error`: with all layers. `rgb/half`: with every other layer. `rgb/mean`: of the patch's own mean, 1 for
        normalized patches unless some are flat. `rgb/place`: of the split's mean patch at each position, the best
        guess without the input. `rgb/share`: error over mean.
        """
        sums: dict[str, float] = {}
        places = {m: _Places() for m in self.modalities}
        counts: dict[Modality, int] = {}
        masks: torch.Generator | None = None
        for batch in batches:
            for modality in self.modalities:
                rows, _ = present_rows(batch.samples.inputs[modality], batch.samples.present[modality])
                if len(rows):
                    masks = masks or generator(self.config.optimizer.seed, MASKS, 0, rows.device)
                    counts[modality] = counts.get(modality, 0) + len(rows)
                    places[modality].add(self._target(modality, rows))
                    for name, error in self._errors(modality, rows, masks).items():
                        sums[name] = sums.get(name, 0.0) + error.item() * len(rows)
        metrics = {name: value / counts[Modality(name.split("/")[0])] for name, value in sums.items()}
        metrics |= {f"{m}/place": places[m].error() for m in counts}
        shares = {f"{m}/share": metrics[f"{m}/error"] / metrics[f"{m}/mean"] for m in counts if metrics[f"{m}/mean"]}
        return metrics | shares

    def finish(self, folder: Path) -> None:
        """Copy weights as `copies` asks, and write trained backbones with stem patch as `mae-rgb.safetensors`.

        The files have the names of public MAE checkpoints, and no decoder.

        Raises:
            InputError: a file cannot be written.
        """
        copy_backbones(self.network, self.config.copies)
        for modality in self.modalities:
            if self.network.config.modalities[modality].backbone.stem == "patch":
                state = public_state(self.network.backbone(modality), self._grid(modality))
                write_bytes(folder / f"mae-{modality}.safetensors", save(state))

    def _errors(self, modality: Modality, rows: Tensor, masks: torch.Generator) -> dict[str, Tensor]:
        depth = self.network.backbone(modality).depth
        target, mask = self._target(modality, rows), self._mask(modality, len(rows), masks)
        mean = target.mean(dim=-1, keepdim=True).expand_as(target)
        whole, half = (hidden_error(self._guess(modality, rows, mask, layers), target, mask)
                       for layers in (range(depth), every_other(depth, max(1, depth // 2))))
        return {f"{modality}/error": whole, f"{modality}/half": half,
                f"{modality}/mean": hidden_error(mean, target, mask)}

    def _guess(self, modality: Modality, rows: Tensor, mask: Mask, layers: Iterable[int]) -> Tensor:
        encoded = encode_visible(self.network.backbone(modality), rows, mask, tuple(layers), self._patch(modality))
        return cast(Tensor, self.decoders[str(modality)](encoded, mask))

    def _target(self, modality: Modality, rows: Tensor) -> Tensor:
        return normalize_patches(patchify(rows.float(), self._patch(modality)), self.config.variance_floor)

    def _mask(self, modality: Modality, inputs: int, draws: torch.Generator) -> Mask:
        rows, columns = self._grid(modality)
        return draw_mask(inputs, rows * columns, self.config.masked(modality), draws)

    def _decoder(self, modality: Modality) -> MaskedDecoder:
        vit, (rows, columns), config = self.network.backbone(modality), self._patch(modality), self.config.decoder
        return MaskedDecoder(self._grid(modality), vit.dim, rows * columns * vit.shape[0], dim=config.dim,
                             depth=config.depth, heads=config.heads)

    def _patch(self, modality: Modality) -> Grid:
        return self.network.config.modalities[modality].backbone.patch

    def _grid(self, modality: Modality) -> Grid:
        return _grid(self.network, modality)


def check_copies(stage: str, copies: Mapping[Modality, Modality], trained: tuple[Modality, ...],
                 model: ModelConfig) -> None:
    """Check that trained backbones can be copied to others of a model.

    Raises:
        ConfigError: a copy is not from a trained to another modality, or its backbones differ.
    """
    for target, source in copies.items():
        if source not in trained or target in trained or target not in model.modalities:
            raise ConfigError(f"{stage}.copies.{target}", source,
                              "a trained modality, for a modality of the model that is not trained")
        mine, theirs = model.modalities[target].backbone, model.modalities[source].backbone
        alike = all(getattr(mine, f) == getattr(theirs, f) for f in ("dim", "depth", "heads", "mlp_ratio"))
        if not alike or {mine.stem, theirs.stem} != {"patch"}:
            raise ConfigError(f"{stage}.copies.{target}", f"the backbone of {source}",
                              "one of the same width, depth, heads and mlp_ratio, both with stem patch")


def copy_backbones(network: AdmnNetwork, copies: Mapping[Modality, Modality]) -> None:
    """Copy the weights of backbones to others, as `check_copies` allows."""
    for target, source in copies.items():
        state = {name: value.detach().cpu() for name, value in network.backbone(source).state_dict().items()
                 if not name.startswith("points.")}
        load_backbone(network.backbone(target), state, "timm", source_grid=_grid(network, source))


def _grid(network: AdmnNetwork, modality: Modality) -> Grid:
    _, height, width = network.config.modalities[modality].input.shape
    rows, columns = network.config.modalities[modality].backbone.patch
    return height // rows, width // columns


class _Places:
    """Error of the mean patch at each position, as the prediction of all patches there."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, target: Tensor) -> None:
        """Add patches (B, T, values)."""
        self._count += len(target)
        self._sum = self._sum.to(target.device) + target.sum(dim=0)
        self._squares = self._squares.to(target.device) + target.square().sum(dim=0)

    def error(self) -> float:
        """Return the mean error over all patches."""
        return (self._squares / self._count - (self._sum / self._count).square()).mean().item()


def draw_encoder_layers(rate: float, depth: int, draws: torch.Generator) -> tuple[int, ...]:
    """Draw the layers that remain if each is dropped with a probability; at least one remains."""
    while True:
        kept = torch.rand(depth, generator=draws) >= rate
        if bool(kept.any()):
            return tuple(kept.nonzero().flatten().tolist())


def public_state(vit: AdaptiveViT, grid: Grid) -> dict[str, Tensor]:
    """Return the weights of a backbone with the names and the layout of public MAE checkpoints.

    A backbone for spectrograms of AudioMAE's proportions is written in AudioMAE's orientation, time along the rows.

    Args:
        vit: backbone with stem patch.
        grid: rows and columns of its patches.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in vit.state_dict().items()
             if not name.startswith("points.")}
    rows, columns = grid
    if vit.shape[0] == 1 and columns == AUDIOMAE_ROWS * rows:
        state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].transpose(2, 3).contiguous()
        places = state["pos_embed"][:, 1:].view(1, rows, columns, -1).transpose(1, 2).flatten(1, 2)
        state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], places], dim=1)
    return state
