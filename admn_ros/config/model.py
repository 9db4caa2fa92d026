# SPDX-License-Identifier: Apache-2.0
"""`config.yaml` of a model folder: modalities, preprocessing, shapes, classes, frame."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from admn_ros.config.base import Count, Finite, Name, NotNegative, Positive, Strict
from admn_ros.sample import Modality

AUDIO_RATE_HZ = 16000
"""Default sample rate of an audio input in Hz."""
FINE_STRIDE = 4
"""Pixels from one place to the next in the maps of stem fine."""
AUDIO_PARTS = 3
"""Parts of the window in an audio input with directions."""


def _check_heads(field: str, dim: int, heads: int) -> None:
    if dim % heads:
        raise ValueError(f"{field} {heads} does not divide dim {dim}")


class BackboneConfig(Strict):
    """An adaptive-depth ViT (paper Section 3.2). The paper's is 768 wide, 12 deep, 12 heads.

    stem: how an input becomes tokens. patch: one linear map of each patch, as in ViT. conv: convolutions of
        stride 2 down to the same tokens, which learn from far fewer pictures (Xiao et al. 2021). fine: two
        convolutions of stride 2, whose maps become the tokens in patches, and in which the points are found.
    points: so many places in the picture are read out beside the class token (0: the class token alone). With stem
        fine the class token, after the layers, says what to look for in maps of every fourth pixel.
    point_values: numbers that each of them reads of what stands there (0: where alone; a class is no place).
    """

    dim: Count = 768
    depth: Count = 12
    heads: Count = 12
    mlp_ratio: Positive = 4.0
    patch: tuple[Count, Count] = (16, 16)
    stem: Literal["patch", "conv", "fine"] = "patch"
    points: Annotated[int, Field(ge=0)] = 0
    point_values: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits(self) -> BackboneConfig:
        _check_heads("heads", self.dim, self.heads)
        if self.point_values and not self.points:
            raise ValueError("point_values needs points")
        side = self.patch[0]
        if self.stem == "conv" and (side != self.patch[1] or side < 2 or side & (side - 1) or self.dim % (side // 2)):
            raise ValueError(f"stem conv needs a square patch of 2, 4, 8 or 16 whose half divides dim {self.dim}")
        if self.stem == "fine" and (self.points == 0 or side % FINE_STRIDE or self.patch[1] % FINE_STRIDE):
            raise ValueError(f"stem fine needs points, and a patch of multiples of {FINE_STRIDE}")
        return self


FieldOfView = Annotated[float, Field(gt=0, lt=180)]
"""Horizontal, in degrees, of the cameras of the training."""


class RgbInput(Strict):
    """RGB image to (3, height, width), normalized by mean and std of [0, 1] values."""

    kind: Literal["rgb"] = "rgb"
    height: Count = 224
    width: Count = 224
    mean: tuple[Finite, Finite, Finite] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    fov_deg: FieldOfView | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        return 3, self.height, self.width


class DepthInput(Strict):
    """Metric depth, clipped to [min_m, max_m] and divided by max_m; invalid pixels are 0.

    The scale is fixed, not per frame, so that metres survive. The one channel is repeated, or, with `relief`,
    stands beside a mask of the valid pixels and what stands out of its surroundings. `mean` and `std` of the three
    are then taken off and divided by: what stands out is small beside the metres.
    """

    kind: Literal["depth"] = "depth"
    height: Count = 224
    width: Count = 224
    channels: Count = 3
    min_m: NotNegative = 0.1
    max_m: Positive = 9.0
    relief: bool = False
    mean: tuple[Finite, Finite, Finite] = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    fov_deg: FieldOfView | None = None

    @model_validator(mode="after")
    def _consistent(self) -> DepthInput:
        if self.min_m >= self.max_m:
            raise ValueError(f"min_m {self.min_m} must be below max_m {self.max_m}")
        if self.relief and self.channels != 3:
            raise ValueError(f"relief has 3 channels, not {self.channels}")
        if not self.relief and (any(self.mean) or set(self.std) != {1.0}):
            raise ValueError("mean and std need relief")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        return self.channels, self.height, self.width


class RadarInput(Strict):
    """Radar magnitude as (log1p(x / floor) - mean) / std, resized to (channels, height, width).

    rows: only the first so many range rows count, where a heatmap has more; null for all. What a row means in
        metres must stay what it was in training.
    """

    kind: Literal["radar"] = "radar"
    height: Count = 224
    width: Count = 224
    channels: Count = 1
    rows: Count | None = None
    floor: Positive = 1.0
    mean: Finite = 0.0
    std: Positive = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        return self.channels, self.height, self.width


class AudioInput(Strict):
    """Microphones to log-mel spectrograms (channels, mels, frames), normalized by mean and std.

    HTK mel scale, natural logarithm of power. The newest fft + (frames - 1) * hop samples count; where
    the window is shorter, zeros stand before it. Missing channels repeat those that are there.

    microphones_m: places (x, y) of the microphones in the sensor node's frame. With them the input is, for each
        third of the window, how well each mel band's phases fit a source at each of `azimuths` directions, and
        the band's level: (6, mels, azimuths) in place of spectrograms.
    """

    kind: Literal["audio"] = "audio"
    sample_rate_hz: Count = AUDIO_RATE_HZ
    channels: Count = 4
    window_s: Positive = 1.024
    fft: Count = 512
    hop: Count = 256
    mels: Count = 64
    frames: Count = 64
    mean: Finite = -4.0
    std: Positive = 4.0
    microphones_m: tuple[tuple[Finite, Finite], ...] = ()
    azimuths: Count = 48

    @model_validator(mode="after")
    def _consistent(self) -> AudioInput:
        if self.microphones_m and (len(self.microphones_m) != self.channels or self.channels < 2):
            raise ValueError(f"microphones_m has {len(self.microphones_m)} places, must have one for each of the "
                             f"{self.channels} channels, of which there are at least 2")
        if self.microphones_m and self.frames < AUDIO_PARTS:
            raise ValueError(f"frames {self.frames} must be at least {AUDIO_PARTS} with microphones_m")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the tensor."""
        if self.microphones_m:
            return 2 * AUDIO_PARTS, self.mels, self.azimuths
        return self.channels, self.mels, self.frames


InputConfig = Annotated[RgbInput | DepthInput | RadarInput | AudioInput, Field(discriminator="kind")]


class ModalityConfig(Strict):
    """How one modality enters the network. All sensor nodes share it, and share its weights."""

    input: InputConfig
    backbone: BackboneConfig = BackboneConfig()
    adapter_hidden: Count = 512

    @model_validator(mode="after")
    def _patch_divides(self) -> ModalityConfig:
        _, height, width = self.input.shape
        rows, columns = self.backbone.patch
        if height % rows or width % columns:
            raise ValueError(f"input {height}x{width} is not a multiple of backbone.patch {rows}x{columns}")
        return self


class FusionConfig(Strict):
    """Fusion transformer (Table 13: 6 layers, 4 heads, 256 wide for GDTM and AVE, 64 for MM-Fi)."""

    dim: Count = 256
    depth: Count = 6
    heads: Count = 4
    mlp_ratio: Positive = 3.0

    @model_validator(mode="after")
    def _heads_divide(self) -> FusionConfig:
        _check_heads("heads", self.dim, self.heads)
        return self


def _ascending(levels: tuple[float, ...]) -> tuple[float, ...]:
    if any(a >= b for a, b in itertools.pairwise(levels)):
        raise ValueError(f"must ascend, not be {list(levels)}")
    return levels


Levels = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2), AfterValidator(_ascending)]
"""Severities of the categories of a modality."""


class QoiConfig(Strict):
    """QoI controller (Section 3.4.1): downsample, small convolutions, transformer, two heads.

    budget_token: the controller also sees the budget (Section A.1).
    levels: where corruption is known by K categories (Section 3.4.2), their ascending severities; the corruption
        output has K logits for such a modality, and the expected severity of its category is what it judges.
    """

    size: Annotated[int, Field(ge=32)] = 100
    dim: Count = 256
    depth: Count = 4
    heads: Count = 4
    mlp_ratio: Positive = 4.0
    layer_hidden: Count = 200
    corruption_hidden: Count = 250
    budget_token: bool = False
    levels: dict[Modality, Levels] = Field(default={})

    @model_validator(mode="after")
    def _heads_divide(self) -> QoiConfig:
        _check_heads("heads", self.dim, self.heads)
        return self


class LocalizationConfig(Strict):
    """Where the target can be, in metres in the model's frame, and the smallest standard deviation.

    kind: pooled: one Gaussian from the mean of all tokens, as in the paper. evidence: each input says where it
        believes the target in its sensor node's frame and how sure it is in each direction; the nodes' poses bring
        that into the model's frame, where it is added up as a Kalman filter would. Needs `node_poses`.
    """

    kind: Literal["pooled", "evidence"] = "pooled"
    min_m: tuple[Finite, ...] = Field(default=(-2.0, -2.0), min_length=2, max_length=3)
    max_m: tuple[Finite, ...] = Field(default=(2.0, 2.0), min_length=2, max_length=3)
    plane_z_m: Finite = 0.0
    std_floor_m: Positive = 0.01

    @model_validator(mode="after")
    def _ordered(self) -> LocalizationConfig:
        if len(self.min_m) != len(self.max_m) or any(a >= b for a, b in zip(self.min_m, self.max_m, strict=True)):
            raise ValueError(f"min_m {self.min_m} must be below max_m {self.max_m} in each of the same axes")
        return self


class NodePose(Strict):
    """Where a sensor node stands, in the model's frame.

    x_m, y_m, z_m: metres. yaw_rad: of its x axis, which points ahead; counter-clockwise seen from above (REP-103).
    tilt_rad: how far its cameras look down.
    """

    x_m: Finite
    y_m: Finite
    z_m: Finite = 0.0
    yaw_rad: Finite = 0.0
    tilt_rad: Finite = 0.0

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """x, y, z, yaw, tilt."""
        return self.x_m, self.y_m, self.z_m, self.yaw_rad, self.tilt_rad


class ModelConfig(Strict):
    """`config.yaml` of a model folder. Whoever has it knows every shape and every normalization.

    trained: whether the estimates mean anything.
    qoi_trained: whether the controller learned to judge corruption (Section 3.4.2), so that its QoI means anything.
    """

    format: Literal["admn-model-1"] = "admn-model-1"
    name: str
    trained: bool
    qoi_trained: bool = False
    seed: int | None = None
    frame_id: str = "map"
    sensor_nodes: tuple[Name, ...] = Field(min_length=1)
    node_poses: dict[Name, NodePose] = Field(default={})
    modalities: dict[Modality, ModalityConfig] = Field(min_length=1)
    fusion: FusionConfig = FusionConfig()
    qoi: QoiConfig = QoiConfig()
    localization: LocalizationConfig = LocalizationConfig()
    classes: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        for modality, m in self.modalities.items():
            if m.input.kind != modality.value:
                raise ValueError(f"modalities.{modality}.input.kind is {m.input.kind!r}, must be {modality.value!r}")
        for field, names in (("sensor_nodes", self.sensor_nodes), ("classes", self.classes)):
            if len(set(names)) != len(names):
                raise ValueError(f"{field} repeats a name: {list(names)}")
        if self.localization.kind == "evidence":
            if set(self.node_poses) != set(self.sensor_nodes):
                raise ValueError(f"node_poses has {list(self.node_poses)}, localization evidence needs those of "
                                 f"{list(self.sensor_nodes)}")
            if len(self.localization.min_m) != 2:
                raise ValueError("localization evidence is of the plane; min_m and max_m must have two axes")
        return self

    @property
    def grades(self) -> dict[Modality, int]:
        """Corruption outputs per modality: one, or one for each of its categories."""
        return {m: len(self.qoi.levels.get(m, (0.0,))) for m in self.modalities}

    @property
    def judges_quality(self) -> bool:
        """Whether QoI is given and used: it is trained, or random like all else in an untrained model."""
        return self.qoi_trained or not self.trained

    @property
    def audio_rate_hz(self) -> int:
        """Sample rate of the audio input in Hz; the default rate if the model has none."""
        audio = self.modalities.get(Modality.AUDIO)
        found = audio.input if audio is not None else None
        return found.sample_rate_hz if isinstance(found, AudioInput) else AUDIO_RATE_HZ

    @property
    def depths(self) -> dict[Modality, int]:
        """Backbone layers per modality."""
        return {m: c.backbone.depth for m, c in self.modalities.items()}

    @property
    def layers_total(self) -> int:
        """Backbone layers of all modalities together (the paper's C)."""
        return sum(self.depths.values())
