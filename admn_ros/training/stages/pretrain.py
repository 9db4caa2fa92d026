# SPDX-License-Identifier: Apache-2.0
"""Stage 0: masked autoencoding with LayerDrop in the encoder, for each backbone on its own (Section 3.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, cast

import torch
from safetensors.torch import save
from torch import Tensor, nn

from admn_ros.baselines.orders import every_other
from admn_ros.errors import ConfigError, InputError
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
from admn_ros.training.config import PretrainConfig
from admn_ros.training.data import LabeledBatch
from admn_ros.training.seeding import DECODER, MASKS, derive, generator
from admn_ros.training.stage import Stage, Step, freeze
from admn_ros.training.stages.pretrain_data import pretrained_modalities


class Pretrain(Stage):
    """Masked autoencoding of some backbones of a network; everything else of the network stays as it is.

    The readout of points is not trained: it works on tokens of all patches.
    """

    name: ClassVar[str] = "pretrain"

    def __init__(self, network: AdmnNetwork, config: PretrainConfig) -> None:
        """Choose what is trained, and set its positions.

        Raises:
            ConfigError: `modalities` or `copies` do not fit the model, or a width is too odd for positions.
        """
        self.network, self.config = network, config
        self.modalities = pretrained_modalities(network.config, config)
        self._check_copies()
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
        """Error of the hidden patches per modality, with masks drawn for each input and layers for the batch."""
        found = {}
        for modality in self.modalities:
            layers = draw_layers(self.config.layerdrop, self.network.backbone(modality).depth, step.draws)
            rows, _ = present_rows(batch.samples.inputs[modality], batch.samples.present[modality])
            if not len(rows):
                found[str(modality)] = rows.new_zeros(())
                continue
            target, mask = self._target(modality, rows), self._mask(modality, len(rows), step.noise)
            found[str(modality)] = hidden_error(self._guess(modality, rows, mask, layers), target, mask)
        return found

    def validate(self, batches: Iterable[LabeledBatch]) -> dict[str, float]:
        """Errors of each modality over the split, with the same masks every time.

        `rgb/error` with all layers, `rgb/half` with every other one, `rgb/mean` of the patch's own mean as the
        guess, which is 1 for normalized patches unless some are flat, `rgb/place` of the split's mean patch at each
        place, which is what can be guessed without looking, and `rgb/share`, which is error over mean.
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
        figures = {name: value / counts[Modality(name.split("/")[0])] for name, value in sums.items()}
        figures |= {f"{m}/place": places[m].error() for m in counts}
        shares = {f"{m}/share": figures[f"{m}/error"] / figures[f"{m}/mean"] for m in counts if figures[f"{m}/mean"]}
        return figures | shares

    def finish(self, folder: Path) -> None:
        """Give copies their weights, and write each trained backbone that embeds patches one by one as a file with
        the names of public MAE checkpoints, `mae-rgb.safetensors`, without the decoder.

        Raises:
            InputError: a file cannot be written.
        """
        for target, source in self.config.copies.items():
            vit = self.network.backbone(source)
            state = {name: value.detach().cpu() for name, value in vit.state_dict().items()
                     if not name.startswith("points.")}
            load_backbone(self.network.backbone(target), state, "timm", source_grid=self._grid(source))
        for modality in self.modalities:
            if self.network.config.modalities[modality].backbone.stem == "patch":
                path = folder / f"mae-{modality}.safetensors"
                try:
                    path.write_bytes(save(public_state(self.network.backbone(modality), self._grid(modality))))
                except OSError as error:
                    raise InputError(str(path), error.strerror or "unwritable",
                                     "a writable folder with space") from error

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
        patches = patchify(rows.float(), self._patch(modality))
        return normalize_patches(patches, self.config.variance_floor) if self.config.normalize else patches

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
        _, height, width = self.network.config.modalities[modality].input.shape
        rows, columns = self._patch(modality)
        return height // rows, width // columns

    def _check_copies(self) -> None:
        entries = self.network.config.modalities
        for target, source in self.config.copies.items():
            if source not in self.modalities or target in self.modalities or target not in entries:
                raise ConfigError(f"pretrain.copies.{target}", source, "a modality that is trained, for one that the "
                                                                       "model has and that is not")
            mine, theirs = entries[target].backbone, entries[source].backbone
            alike = all(getattr(mine, f) == getattr(theirs, f) for f in ("dim", "depth", "heads", "mlp_ratio"))
            if not alike or {mine.stem, theirs.stem} != {"patch"}:
                raise ConfigError(f"pretrain.copies.{target}", f"the backbone of {source}",
                                  "one of the same width, depth, heads and mlp_ratio, both with stem patch")


class _Places:
    """Error of the mean patch at each place, as the guess for all patches there."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, target: Tensor) -> None:
        """Patches (B, T, values)."""
        self._count += len(target)
        self._sum = self._sum.to(target.device) + target.sum(dim=0)
        self._squares = self._squares.to(target.device) + target.square().sum(dim=0)

    def error(self) -> float:
        """Mean over all patches."""
        return (self._squares / self._count - (self._sum / self._count).square()).mean().item()


def draw_layers(rate: float, depth: int, draws: torch.Generator) -> tuple[int, ...]:
    """Layers that stay when each is dropped at a rate; drawn again if none does."""
    while True:
        kept = torch.rand(depth, generator=draws) >= rate
        if bool(kept.any()):
            return tuple(kept.nonzero().flatten().tolist())


def public_state(vit: AdaptiveViT, grid: Grid) -> dict[str, Tensor]:
    """Weights of a backbone with the names and the layout of public MAE checkpoints.

    One for spectrograms of AudioMAE's proportions is written in its orientation, time along the rows.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in vit.state_dict().items()
             if not name.startswith("points.")}
    rows, columns = grid
    if vit.shape[0] == 1 and columns == AUDIOMAE_ROWS * rows:
        state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"].transpose(2, 3).contiguous()
        places = state["pos_embed"][:, 1:].view(1, rows, columns, -1).transpose(1, 2).flatten(1, 2)
        state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], places], dim=1)
    return state
