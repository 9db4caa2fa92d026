# SPDX-License-Identifier: Apache-2.0
"""Configuration of the segmentation study."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import model_validator

from admn_ros.baselines.segmentation.config import SegmentationConfig
from admn_ros.benchmark.dynmm.study import GateStudy
from admn_ros.benchmark.tables.config import Effort
from admn_ros.datasets.open import DatasetKind
from admn_ros.errors import ConfigError
from admn_ros.model.presets import preset
from admn_ros.sample import Modality


class SegmentationStudy(GateStudy):
    """`config/segmentation.yaml`.

    Attributes:
        model: preset with one sensor node, RGB and depth of the same size; only its inputs are used.
        source: kind of the dataset, one with masks.
        pretrain: training with random choices, or of a static network; `gate` comes after it.
        stem, widths, decoder: channels of the network, as in `SegmentationConfig`.
    """

    model: str = "rgbd-segmentation"
    source: DatasetKind = "shards_masks"
    pretrain: Effort
    stem: int = 16
    widths: tuple[int, int, int, int] = (16, 32, 64, 96)
    decoder: int = 24

    @model_validator(mode="after")
    def _inputs_fit(self) -> SegmentationStudy:
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
