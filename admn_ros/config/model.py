# SPDX-License-Identifier: Apache-2.0
"""Description of a model (`config.yaml`): modalities, preprocessing, shapes, classes, frame."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from admn_ros.config.base import Count, Finite, Name, Positive, Strict
from admn_ros.config.inputs import AUDIO_RATE_HZ, LONGEST_SIDE, AudioInput, InputConfig
from admn_ros.sample import Modality

WIDEST, DEEPEST = 2**16, 1024
Width = Annotated[int, Field(ge=1, le=WIDEST)]
Depth = Annotated[int, Field(ge=1, le=DEEPEST)]
Ratio = Annotated[float, Field(gt=0, le=64)]
FINE_STRIDE = 4
"""Stride of the feature maps of stem fine, in pixels."""


N = TypeVar("N", int, float)


def _check_heads(field: str, dim: int, heads: int) -> None:
    if dim % heads:
        raise ValueError(f"{field} {heads} does not divide dim {dim}")


class BackboneConfig(Strict):
    """ViT of adaptive depth (paper Section 3.2).

    Attributes:
        dim: width of the tokens; 768 in the paper.
        depth: number of layers; 12 in the paper.
        heads: number of attention heads; 12 in the paper.
        mlp_ratio: width of the MLP's hidden layer over `dim`.
        patch: rows and columns of a patch, in pixels.
        stem: module that turns an input into tokens. `patch`: a linear map of each patch, as in ViT. `conv`:
            convolutions of stride 2 down to the same tokens, which need far less training data (Xiao et al. 2021).
            `fine`: two convolutions of stride 2, whose feature maps become the tokens in patches, and in which the
            points are found.
        points: number of image positions that are read out beside the class token. With stem fine, the class token
            after the layers gives the queries, and the feature maps of stride 4 the keys.
        point_values: number of features that each point reads at its position; 0 reads the position only.
    """

    dim: Width = 768
    depth: Depth = 12
    heads: Width = 12
    mlp_ratio: Ratio = 4.0
    patch: tuple[Width, Width] = (16, 16)
    stem: Literal["patch", "conv", "fine"] = "patch"
    points: Annotated[int, Field(ge=0, le=WIDEST)] = 0
    point_values: Annotated[int, Field(ge=0, le=WIDEST)] = 0

    @model_validator(mode="after")
    def _fits(self) -> BackboneConfig:
        _check_heads("heads", self.dim, self.heads)
        if self.point_values and not self.points:
            raise ValueError("point_values requires points")
        side = self.patch[0]
        if self.stem == "conv" and (side != self.patch[1] or side < 2 or side & (side - 1) or self.dim % (side // 2)):
            raise ValueError(f"stem conv requires a square patch of 2, 4, 8 or 16 whose half divides dim {self.dim}")
        if self.stem == "fine" and (self.points == 0 or side % FINE_STRIDE or self.patch[1] % FINE_STRIDE):
            raise ValueError(f"stem fine requires points, and a patch of multiples of {FINE_STRIDE}")
        return self


class ModalityConfig(Strict):
    """Input, backbone and adapter of one modality, with weights shared by all sensor nodes.

    Attributes:
        input: preprocessing and shape of the input.
        backbone: adaptive backbone.
        adapter_hidden: width of the adapter's hidden layer.
    """

    input: InputConfig
    backbone: BackboneConfig = BackboneConfig()
    adapter_hidden: Width = 512

    @model_validator(mode="after")
    def _patch_divides(self) -> ModalityConfig:
        _, height, width = self.input.shape
        rows, columns = self.backbone.patch
        if height % rows or width % columns:
            raise ValueError(f"input {height}x{width} is not a multiple of backbone.patch {rows}x{columns}")
        return self


class FusionConfig(Strict):
    """Fusion transformer (paper Table 13: 6 layers, 4 heads, width 256 for GDTM and AVE, 64 for MM-Fi).

    Attributes:
        dim: width of the tokens.
        depth: number of layers.
        heads: number of attention heads.
        mlp_ratio: width of the MLP's hidden layer over `dim`.
    """

    dim: Width = 256
    depth: Depth = 6
    heads: Width = 4
    mlp_ratio: Ratio = 3.0

    @model_validator(mode="after")
    def _heads_divide(self) -> FusionConfig:
        _check_heads("heads", self.dim, self.heads)
        return self


def _ascending(levels: tuple[N, ...]) -> tuple[N, ...]:
    if any(a >= b for a, b in itertools.pairwise(levels)):
        raise ValueError(f"must ascend, not be {list(levels)}")
    return levels


Span = Annotated[tuple[Finite, Finite], AfterValidator(_ascending)]
"""Lower and upper bound."""
Levels = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=2), AfterValidator(_ascending)]
"""Severities of the corruption categories of a modality, ascending in [0, 1]."""


class QoiConfig(Strict):
    """QoI controller (paper Section 3.4.1): downsampling, small convolutions, transformer, two heads.

    Attributes:
        size: side of the downsampled inputs in pixels.
        spectrogram: rows and columns of the downsampled inputs of audio; null for `size` as for other modalities.
        observed: number of first sensor nodes, or frames of a clip, whose inputs the controller reads; null for all.
        dim: width of the tokens.
        depth: number of transformer layers.
        heads: number of attention heads.
        mlp_ratio: width of the MLP's hidden layer over `dim`.
        layer_hidden: width of the hidden layer of the head that scores layers.
        corruption_hidden: width of the hidden layer of the head that estimates corruption.
        budget_token: whether the controller reads the budget (Section A.1).
        budget_encoding: form of the budget token. continuous: two layers embed the budget, which gives a token for
            every budget. tokens: a learned token for each of `token_budgets`, as in the paper.
        token_budgets: ascending budgets in layers, of all modalities together, that have a learned token. Any other
            budget takes the token of the next lower one; one below all of them takes the first.
        value_hidden: width of the hidden layers of the head that predicts the value of each input
            (`admn_ros.model.value.head`); 0 for no such head.
        levels: ascending severities of the K corruption categories of a modality (Section 3.4.2). The corruption
            output of such a modality has K logits, and its estimate is the expected severity.
    """

    size: Annotated[int, Field(ge=32, le=LONGEST_SIDE)] = 100
    spectrogram: tuple[Width, Width] | None = None
    observed: Count | None = None
    dim: Width = 256
    depth: Depth = 4
    heads: Width = 4
    mlp_ratio: Ratio = 4.0
    layer_hidden: Width = 200
    corruption_hidden: Width = 250
    budget_token: bool = False
    budget_encoding: Literal["continuous", "tokens"] = "continuous"
    token_budgets: Annotated[tuple[Count, ...], AfterValidator(_ascending)] = ()
    value_hidden: Annotated[int, Field(ge=0, le=WIDEST)] = 0
    levels: dict[Modality, Levels] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> QoiConfig:
        _check_heads("heads", self.dim, self.heads)
        sides = self.spectrogram or (self.size,)
        if min(sides) < self.size or max(sides) > LONGEST_SIDE:
            raise ValueError(f"spectrogram {self.spectrogram} must have sides from size {self.size} to {LONGEST_SIDE}")
        if (self.budget_encoding == "tokens") != bool(self.token_budgets):
            raise ValueError("token_budgets are required for budget_encoding tokens, and not allowed for continuous")
        if self.token_budgets and not self.budget_token:
            raise ValueError("budget_encoding tokens requires budget_token")
        if self.observed is not None and self.value_hidden:
            raise ValueError("observed conflicts with value_hidden; the value of an input that is not read is unknown")
        return self


class LocalizationConfig(Strict):
    """Localization head.

    Attributes:
        kind: `pooled`: one Gaussian from the mean of all tokens, as in the paper. `evidence`: a Gaussian from each
            input, in the frame of its sensor node, transformed by the node's pose and fused as in an information
            filter; requires `node_poses`.
        min_m: lower corner of the area of the target, in metres in the model's frame.
        max_m: upper corner of the area.
        plane_z_m: height of the plane of a model with two axes, in metres.
        std_floor_m: smallest standard deviation in metres.
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


class CalibrationConfig(Strict):
    """Calibration of covariances and class probabilities (`admn_ros.model.calibration`).

    Attributes:
        hidden: width of its hidden layer; 0 for no calibration. Requires localization of kind evidence.
        seen_height_m: lowest and highest sensor node of the training data. The calibration reads how far a node is
            outside.
    """

    hidden: Annotated[int, Field(ge=0, le=WIDEST)] = 0
    seen_height_m: Span = (0.0, 1.0)


class NodePose(Strict):
    """Pose of a sensor node in the model's frame.

    Attributes:
        x_m: x in metres.
        y_m: y in metres.
        z_m: z in metres.
        yaw_rad: direction of the forward axis, counter-clockwise seen from above (REP-103).
        tilt_rad: downward tilt of the cameras.
    """

    x_m: Finite
    y_m: Finite
    z_m: Finite = 0.0
    yaw_rad: Finite = 0.0
    tilt_rad: Finite = 0.0

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """Pose as (x, y, z, yaw, tilt)."""
        return self.x_m, self.y_m, self.z_m, self.yaw_rad, self.tilt_rad


class ModelConfig(Strict):
    """Description of a model (`config.yaml`): every shape and every normalization.

    Attributes:
        format: version of the format.
        name: name of the architecture.
        trained: whether the weights are trained; random weights give meaningless estimates.
        qoi_trained: whether the controller was trained on corruption labels (paper Section 3.4.2), so that its QoI is
            meaningful.
        seed: seed of the weights or of the training.
        frame_id: TF frame of the estimates.
        sensor_nodes: names of the sensor nodes.
        node_poses: pose of each sensor node.
        modalities: input, backbone and adapter of each modality.
        layer_costs: cost of a layer of each modality in budgets in layers (paper Table 4); 1 for
            modalities that are not named.
        nested: whether the backbones were trained to run their first layers, of any number, rather than any set of
            layers. Policies then choose how many layers of a modality run, and never which.
        fusion: fusion transformer.
        qoi: controller.
        localization: localization head.
        calibration: calibration of the estimates.
        classes: names of the classes.
    """

    format: Literal["admn-model-1"] = "admn-model-1"
    name: str
    trained: bool
    qoi_trained: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    frame_id: str = "map"
    sensor_nodes: tuple[Name, ...] = Field(min_length=1)
    node_poses: dict[Name, NodePose] = Field(default={})
    modalities: dict[Modality, ModalityConfig] = Field(min_length=1)
    layer_costs: dict[Modality, Count] = Field(default={})
    nested: bool = False
    fusion: FusionConfig = FusionConfig()
    qoi: QoiConfig = QoiConfig()
    localization: LocalizationConfig = LocalizationConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    classes: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        for modality, m in self.modalities.items():
            if m.input.kind != modality.value:
                raise ValueError(f"modalities.{modality}.input.kind is {m.input.kind!r}, must be {modality.value!r}")
        if self.qoi.token_budgets and self.qoi.token_budgets[-1] > self.layers_total:
            raise ValueError(f"qoi.token_budgets has {self.qoi.token_budgets[-1]}, the model has {self.layers_total} "
                             "layers")
        if self.qoi.observed is not None and self.qoi.observed > len(self.sensor_nodes):
            raise ValueError(f"qoi.observed {self.qoi.observed} must be at most the {len(self.sensor_nodes)} "
                             "sensor_nodes")
        if not set(self.layer_costs) <= set(self.modalities):
            raise ValueError(f"layer_costs has {list(map(str, self.layer_costs))}, the model has "
                             f"{list(map(str, self.modalities))}")
        for field, names in (("sensor_nodes", self.sensor_nodes), ("classes", self.classes)):
            if len(set(names)) != len(names):
                raise ValueError(f"{field} repeats a name: {list(names)}")
        if self.localization.kind == "evidence":
            if set(self.node_poses) != set(self.sensor_nodes):
                raise ValueError(f"node_poses has {list(self.node_poses)}, localization evidence requires those of "
                                 f"{list(self.sensor_nodes)}")
            if len(self.localization.min_m) != 2:
                raise ValueError("localization evidence requires min_m and max_m with two axes")
        elif self.calibration.hidden:
            raise ValueError("calibration requires localization of kind evidence")
        return self

    @property
    def observed(self) -> int:
        """Number of first sensor nodes whose inputs the controller reads."""
        return len(self.sensor_nodes) if self.qoi.observed is None else self.qoi.observed

    @property
    def grades(self) -> dict[Modality, int]:
        """Number of corruption outputs per modality: one, or one for each category."""
        return {m: len(self.qoi.levels.get(m, (0.0,))) for m in self.modalities}

    @property
    def judges_quality(self) -> bool:
        """Whether the controller's QoI is used: it is trained, or the whole model is untrained."""
        return self.qoi_trained or not self.trained

    @property
    def predicts_values(self) -> bool:
        """Whether the model predicts the value of its inputs. Its own policy then allocates by value, and a modality
        may run at some of its sensor nodes only.
        """
        return self.qoi.value_hidden > 0

    @property
    def audio_rate_hz(self) -> int:
        """Sample rate of the audio input in Hz; the default rate if the model has none."""
        audio = self.modalities.get(Modality.AUDIO)
        found = audio.input if audio is not None else None
        return found.sample_rate_hz if isinstance(found, AudioInput) else AUDIO_RATE_HZ

    @property
    def depths(self) -> dict[Modality, int]:
        """Number of backbone layers per modality."""
        return {m: c.backbone.depth for m, c in self.modalities.items()}

    @property
    def layers_total(self) -> int:
        """Number of backbone layers of all modalities together (C in the paper)."""
        return sum(self.depths.values())
