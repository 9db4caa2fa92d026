# SPDX-License-Identifier: Apache-2.0
"""Configuration of the segmentation study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, model_validator

from admn_ros.baselines.segmentation.config import SegmentationConfig
from admn_ros.benchmark.tables.config import Effort, StudyConfig
from admn_ros.config import NotNegative
from admn_ros.datasets.open import DatasetKind
from admn_ros.errors import ConfigError
from admn_ros.model.presets import preset
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.presets import CORRUPTIONS
from admn_ros.training.config import Seed


class SegmentationStudy(StudyConfig):
    """`config/segmentation.yaml`.

    Attributes:
        model: preset with one sensor node, RGB and depth of the same size; only its inputs are used.
        source: kind of the dataset, one with masks.
        corruption: name of a corruption preset.
        prices: values of lambda, ascending; the loss of a frame without depth.
        price: lambda of the ablation and of the decisions, one of `prices`.
        seeds: seeds of the ablation; the sweep has the first one.
        pretrain, gate: training with random choices (or of a static network), and of gate and network after it.
        stem, widths, decoder: channels of the network, as in `SegmentationConfig`.
    """

    model: str = "rgbd-segmentation"
    source: DatasetKind = "shards_masks"
    corruption: str
    prices: Annotated[tuple[NotNegative, ...], Field(min_length=2)]
    price: NotNegative
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    pretrain: Effort
    gate: Effort
    stem: int = 16
    widths: tuple[int, int, int, int] = (16, 32, 64, 96)
    decoder: int = 24

    @model_validator(mode="after")
    def _consistent(self) -> SegmentationStudy:
        if self.corruption not in CORRUPTIONS:
            raise ValueError(f"corruption {self.corruption!r} must be one of {', '.join(CORRUPTIONS)}")
        if list(self.prices) != sorted(set(self.prices)):
            raise ValueError("prices must be ascending")
        if self.price not in self.prices:
            raise ValueError(f"price must be one of prices, {', '.join(f'{p:g}' for p in self.prices)}")
        inputs = {m: c.input.shape for m, c in preset(self.model).modalities.items()}
        if set(inputs) != {Modality.RGB, Modality.DEPTH} or len({shape[1:] for shape in inputs.values()}) != 1:
            raise ValueError(f"model {self.model} must have RGB and depth of the same size, and nothing else")
        return self

    def network(self, classes: Sequence[str]) -> SegmentationConfig:
        """Return the description of the network for classes of pixels.

        Raises:
            ConfigError: the inputs do not fit the network.
        """
        rgb, depth = (preset(self.model).modalities[m].input.shape for m in (Modality.RGB, Modality.DEPTH))
        try:
            return SegmentationConfig(
                classes=tuple(classes), rgb_channels=rgb[0], depth_channels=depth[0], height=rgb[1], width=rgb[2],
                stem=self.stem, widths=self.widths, decoder=self.decoder)
        except ValueError as error:
            raise ConfigError("model", self.model, f"inputs that fit the network: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Hash of all that a training depends on, but for what its name has: lambda and seed."""
        # Default values are left out, so that a new option does not invalidate trained networks.
        known = self.model_dump(mode="json", exclude={"notes", "prices", "price", "seeds"}, exclude_defaults=True)
        known["preset"] = preset(self.model).model_dump(mode="json", exclude_defaults=True)
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]
