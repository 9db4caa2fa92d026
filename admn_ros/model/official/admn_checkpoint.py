# SPDX-License-Identifier: Apache-2.0
"""Conversion of official ADMN checkpoints (stage 1 and stage 2) to model folders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from admn_ros.config import (
    AudioInput,
    BackboneConfig,
    DepthInput,
    FusionConfig,
    InputConfig,
    LocalizationConfig,
    ModalityConfig,
    ModelConfig,
    QoiConfig,
    RgbInput,
)
from admn_ros.errors import InputError, ModelError
from admn_ros.model.checkpoint import COSTS, check_free, initialize, save_model
from admn_ros.model.official.layouts import (
    CONSTANT_TOKENS,
    EQUAL_COSTS,
    LAYOUTS,
    UNEQUAL,
    UNEQUAL_COSTS,
    Names,
    held_parts,
)
from admn_ros.model.official.legacy_head import CORRUPTION_OUTPUTS, CorruptionHead
from admn_ros.model.official.legacy_network import Layout, LegacyConfig, LegacyNetwork
from admn_ros.model.official.noise_head import NOTES, Qoi, judges_quality
from admn_ros.model.official.safe_unpickle import ImportReport, read_foreign
from admn_ros.model.official.state_dict import as_floats
from admn_ros.model.transformer import hidden_width
from admn_ros.sample import Modality

HEAD_WIDTH: Final = 64
"""Width of an attention head of the official backbones, which a state dict does not contain."""
TRANSFORMER_HEADS: Final = 4
SPECTROGRAM_ASPECT: Final = 8
BATCH_NORM_EPS: Final = 1e-5
STEMS: Final[dict[bool, tuple[int, int, int, int]]] = {False: (1, 3, 6, 9), True: (1, 4, 8, 12)}
"""Indices of convolutions and projection in the official stems, without and with batch norms."""
OWN_STEM: Final = (0, 2, 5, 8)
FROZEN_HEADS: Final = ("head.weight", "head.bias")


@dataclass(frozen=True)
class Official:
    """Official checkpoint with the weight names of this package.

    Attributes:
        config: description of the network.
        legacy: what differs from a network of this package.
        weights: float32 weights by their names in this package.
        unused: official names without a counterpart; all of them are known leftovers.
        notes: notes for the user, one sentence each.
    """

    config: ModelConfig
    legacy: LegacyConfig
    weights: Mapping[str, Tensor]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def import_admn(path: str | Path, layout: Layout, out_folder: str | Path, *, nodes: int | None = None,
                qoi: Qoi = "auto", unequal: bool = False, force: bool = False,
                state: Mapping[str, Tensor] | None = None) -> ImportReport:
    """Convert an official checkpoint to a model folder with a legacy.yaml.

    The network keeps the quirks of the release (`admn_ros.model.official.legacy_head`), so that its outputs are the
    official ones. A stage 1 checkpoint has no controller: its layers are spread evenly.

    Args:
        path: official state dict (.pt).
        layout: dataset of the network; widths and depths are read from the weights.
        out_folder: model folder; created if needed.
        nodes: number of sensor nodes or frames, which the weights do not contain; None for the paper's 3, 15 or 8.
        qoi: whether the controller's corruption head was trained; "auto" tells it from the weights.
        unequal: whether the controller allocates in audio layers, of which an image layer costs three; AVE only.
        force: replace a model folder that is there, and remove its measured costs.
        state: result of `read_foreign` for the file; None reads the file.

    Returns:
        Report of loaded, ignored and missing tensors; ignored ones by their official names.

    Raises:
        InputError: the layout does not exist, or `qoi` or `unequal` does not fit the checkpoint.
        ModelError: the file cannot be used or has another layout, or the folder holds a model.
    """
    if layout not in get_args(Layout):
        raise InputError("layout", layout, ", ".join(get_args(Layout)))
    if unequal and layout != "ave":
        raise InputError.conflict("unequal", f"layout {layout}", "only AVE networks of the release have unequal costs")
    out = Path(out_folder)
    check_free(out, force)
    read = read_admn(read_foreign(path) if state is None else state, str(path), layout, nodes, qoi)
    config = read.config if not unequal else read.config.model_copy(
        update={"name": f"{read.config.name}-unequal", "layer_costs": UNEQUAL})
    network = LegacyNetwork(config, read.legacy)
    initialize(network, 0)
    missing = missing_weights(network, read, str(path))
    network.load_state_dict(dict(read.weights), strict=False)
    notes = [f"layer norms have epsilon 1e-5, as released ({layout})", CONSTANT_TOKENS, *read.notes]
    notes.append(NOTES[read.config.qoi_trained] if read.legacy.controller
                 else "no controller in the file (Stage 1): every budget is spread evenly, whatever the inputs, until "
                      "`admn train controller` has trained one on this model")
    if layout == "ave" and read.legacy.controller:
        notes.append(UNEQUAL_COSTS if unequal else EQUAL_COSTS)
    report = ImportReport(tuple(read.weights), (), read.unused, missing, tuple(notes))
    save_model(network.eval(), out, _card(network, report))
    (out / COSTS).unlink(missing_ok=True)
    return report


def read_admn(state: Mapping[str, Tensor], place: str, layout: Layout, nodes: int | None = None,
              qoi: Qoi = "auto") -> Official:
    """Read an official state dict.

    Args:
        state: official state dict.
        place: file that errors name.
        layout: dataset of the network.
        nodes: number of sensor nodes or frames; None for the paper's.
        qoi: as `import_admn`.

    Raises:
        InputError: the layout does not exist, or `qoi` does not fit the checkpoint.
        ModelError: the state dict cannot be used or has another layout.
    """
    source = _Reader(place, state, held_parts(LAYOUTS[layout], state))
    legacy = LegacyConfig(layout=layout, corruption=source.corruption(layout), controller=source.has_controller)
    try:
        config = source.config(layout, nodes)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ModelError(place, f"shapes of an impossible network ({problem['msg']})",
                         "all weights of this layout") from error
    weights = source.weights(legacy)
    config = config.model_copy(update={"qoi_trained": judges_quality(weights, qoi)})
    return Official(config, legacy, weights, source.unused(), source.names.notes)


def missing_weights(network: LegacyNetwork, read: Official, place: str) -> tuple[str, ...]:
    """Return the weights of the network that a checkpoint lacks; only those of the controller may be missing.

    Raises:
        ModelError: names or shapes do not fit, or other weights are missing.
    """
    own = network.state_dict()
    for name, value in read.weights.items():
        if name not in own or own[name].shape != value.shape:
            expected = tuple(own[name].shape) if name in own else "no such weight in this layout"
            raise ModelError(f"{place}: {name}", tuple(value.shape), expected)
    missing = tuple(name for name in own if name not in read.weights)
    lacking = [name for name in missing if not name.startswith("qoi.") or network.legacy.controller]
    if lacking:
        raise ModelError.missing(f"{place}: {lacking[0]}", "all weights of this layout")
    return missing


@dataclass
class _Reader:
    """Reads tensors of an official state dict, and keeps track of the unused ones."""

    place: str
    state: Mapping[str, Tensor]
    names: Names

    def __post_init__(self) -> None:
        self._taken: set[str] = set()

    @property
    def has_controller(self) -> bool:
        return any(name.startswith("controller.") for name in self.state)

    def take(self, name: str, axes: int | None = None) -> Tensor:
        """Return a tensor as finite float32.

        Args:
            name: official name.
            axes: number of axes that it must have; None for any.

        Raises:
            ModelError: the tensor is missing, has another number of axes, is empty, quantized or not finite.
        """
        if name not in self.state:
            raise ModelError.missing(f"{self.place}: {name}", "all weights of this layout")
        self._taken.add(name)
        value = as_floats(f"{self.place}: {name}", self.state[name])
        if not value.numel() or axes not in {None, value.ndim}:
            raise ModelError(f"{self.place}: {name}", f"shape {tuple(value.shape)}",
                             f"values in {'any number of' if axes is None else axes} axes")
        return value

    def unused(self) -> tuple[str, ...]:
        """Return the official tensors without a counterpart.

        Raises:
            ModelError: one of them is not a known leftover, so that this is another network.
        """
        left = [name for name in self.state if name not in self._taken]
        backbones = [backbone for backbone, _, _ in self.names.parts.values()]
        known = {f"{b}.{head}" for b in backbones for head in FROZEN_HEADS} | {"encoder_cls"}
        for name in left:
            if name not in known and not name.endswith("num_batches_tracked"):
                raise ModelError(f"{self.place}: {name}", "a weight that this layout does not have",
                                 f"a checkpoint with {' and '.join(backbones)}")
        return tuple(left)

    # --- the configuration, from names and shapes ---------------------------------------------------

    def corruption(self, layout: Layout) -> CorruptionHead:
        """Return the kind of the controller's corruption head, from the number of its outputs."""
        if not self.has_controller or layout == "mmfi":
            return "severity"
        if layout == "ave":
            return "ave"
        outputs = len(self.take("controller.noise_output.2.bias", 1))
        for kind, count in CORRUPTION_OUTPUTS.items():
            if count == outputs and kind != "ave":
                return kind
        raise ModelError(f"{self.place}: controller.noise_output.2.bias", outputs, "2, 4 or 8")

    def config(self, layout: Layout, nodes: int | None) -> ModelConfig:
        """Return the description of the model."""
        names = self.names.nodes if nodes in {None, len(self.names.nodes)} else tuple(
            f"node{i}" for i in range(1, (nodes or 0) + 1))
        if not names:
            raise InputError("nodes", nodes, "at least 1")
        adapter_in, adapter_out = self.names.adapter
        modalities = {}
        for m, (backbone, adapter, _) in self.names.parts.items():
            hidden = len(self.take(f"{adapter}.{adapter_in}.bias", 1))
            modalities[m] = ModalityConfig(input=self._input(m, backbone), backbone=self._backbone(backbone),
                                           adapter_hidden=hidden)
        fusion_dim = len(self.take("encoder.norm.bias", 1))
        first = next(iter(self.names.parts.values()))[1]
        if len(self.take(f"{first}.{adapter_out}.bias", 1)) != fusion_dim:
            raise ModelError(f"{self.place}: {first}", "a width other than that of the fusion", fusion_dim)
        classes = self.names.classes
        if layout != "gdtm" and len(self.take("output_head.bias", 1)) != len(classes):
            classes = tuple(f"class{i}" for i in range(len(self.take("output_head.bias", 1))))
        return ModelConfig(
            name=f"admn-{layout}", trained=True, sensor_nodes=names,
            modalities=modalities, classes=classes,
            fusion=FusionConfig(dim=fusion_dim, depth=self._depth("encoder.layers."), heads=TRANSFORMER_HEADS,
                                mlp_ratio=self._ratio("encoder.layers.0.1.net.1.bias", fusion_dim)),
            qoi=self._qoi(), localization=LocalizationConfig(std_floor_m=0.01))

    def _qoi(self) -> QoiConfig:
        if not self.has_controller:
            return QoiConfig()
        dim = len(self.take("controller.combiner_encoder.norm.bias", 1))
        return QoiConfig(
            dim=dim, depth=self._depth("controller.combiner_encoder.layers."), heads=TRANSFORMER_HEADS,
            mlp_ratio=self._ratio("controller.combiner_encoder.layers.0.1.net.1.bias", dim),
            layer_hidden=len(self.take("controller.output_head.0.weight", 2)),
            corruption_hidden=len(self.take("controller.noise_output.0.bias", 1)))

    def _backbone(self, name: str) -> BackboneConfig:
        width, _, *patch = self.take(f"{name}.patch_embed.proj.weight", 4).shape
        return BackboneConfig(dim=width, depth=self._depth(f"{name}.blocks."), heads=max(1, width // HEAD_WIDTH),
                              mlp_ratio=self._ratio(f"{name}.blocks.0.mlp.fc1.bias", width), patch=(patch[0], patch[1]))

    def _input(self, modality: Modality, backbone: str) -> InputConfig:
        _, channels, rows, columns = self.take(f"{backbone}.patch_embed.proj.weight", 4).shape
        patches = self.take(f"{backbone}.pos_embed", 3).shape[1] - 1
        aspect = SPECTROGRAM_ASPECT if modality is Modality.AUDIO else 1
        side = math.isqrt(patches // aspect)
        if aspect * side * side != patches:
            raise ModelError(f"{self.place}: {backbone}.pos_embed", f"{patches} patches", f"a grid of {aspect} to 1")
        height, width = side * rows, aspect * side * columns
        if modality is Modality.AUDIO:
            # The release builds the grid for (time, mels) and feeds (mels, time); this package does the same.
            return AudioInput(channels=channels, window_s=10.24, fft=512, hop=160, mels=height, frames=width,
                              mean=-4.2677393, std=2 * 4.5689974)
        if modality is Modality.DEPTH:
            return DepthInput(height=height, width=width, channels=channels, stretch=self.names.stretched)
        return RgbInput(height=height, width=width, stretch=self.names.stretched)

    def _depth(self, prefix: str) -> int:
        found = {name[len(prefix):].split(".")[0] for name in self.state if name.startswith(prefix)}
        if not found:
            raise ModelError.missing(f"{self.place}: {prefix}0", "all weights of this layout")
        return len(found)

    def _ratio(self, hidden: str, dim: int) -> float:
        return ratio_of(len(self.take(hidden, 1)), dim)

    # --- the weights, by the names of this package --------------------------------------------------

    def weights(self, legacy: LegacyConfig) -> dict[str, Tensor]:
        """Return all weights of the file by their names in this package."""
        found = dict(self._common())
        if legacy.layout == "gdtm":
            found |= self._localization()
        else:
            found |= self._linear("output_head", "classification")
        if legacy.controller:
            found |= self._controller()
        return found

    def _common(self) -> Iterator[tuple[str, Tensor]]:
        for m, (backbone, adapter, _) in self.names.parts.items():
            for name in self.state:
                root, _, rest = name.partition(".")
                if root == backbone and rest not in FROZEN_HEADS:
                    yield f"backbones.{m}.{rest}", self.take(name)
            for official, own in zip(self.names.adapter, ("0", "2"), strict=True):
                yield from self._linear(f"{adapter}.{official}", f"adapters.{m}.{own}").items()
        yield from self._encoder("encoder", "fusion.encoder")

    def _linear(self, official: str, own: str) -> dict[str, Tensor]:
        return {f"{own}.{part}": self.take(f"{official}.{part}") for part in ("weight", "bias")}

    def _encoder(self, official: str, own: str) -> Iterator[tuple[str, Tensor]]:
        yield from self._linear(f"{official}.norm", f"{own}.norm").items()
        for i in range(self._depth(f"{official}.layers.")):
            attention, mlp, block = f"{official}.layers.{i}.0", f"{official}.layers.{i}.1", f"{own}.blocks.{i}"
            qkv = self.take(f"{attention}.to_qkv.weight", 2)
            yield f"{block}.attn.qkv.weight", qkv
            yield f"{block}.attn.qkv.bias", torch.zeros(len(qkv))  # the official one has none
            for source, target in (
                    (f"{attention}.norm", "norm1"), (f"{attention}.to_out.0", "attn.proj"), (f"{mlp}.condln", "norm2"),
                    (f"{mlp}.net.1", "mlp.fc1"), (f"{mlp}.net.4", "mlp.fc2")):
                yield from self._linear(source, f"{block}.{target}").items()

    def _localization(self) -> dict[str, Tensor]:
        shared, again = (self._linear(f"output_head.mlp.{i}", "localization.shared") for i in (0, 2))
        if any(not torch.equal(shared[name], again[name]) for name in shared):
            raise ModelError(f"{self.place}: output_head.mlp.2", "other weights than mlp.0", "one layer applied twice")
        return shared | self._linear("output_head.mean_head", "localization.mean") \
            | self._linear("output_head.cov_head", "localization.covariance")

    def _controller(self) -> dict[str, Tensor]:
        found = {"qoi.cls_token": self.take("controller.cls", 2).reshape(1, 1, -1)}
        found |= dict(self._encoder("controller.combiner_encoder", "qoi.encoder"))
        for part in (0, 2):
            weight = self.take(f"controller.output_head.{part}.weight", 2)
            found[f"qoi.mlp_layers.{part}.weight"] = weight
            found[f"qoi.mlp_layers.{part}.bias"] = torch.zeros(len(weight))  # the official one has none
            found |= self._linear(f"controller.noise_output.{part}", f"qoi.mlp_corruption.{part}")
        for m, (_, _, stem) in self.names.parts.items():
            found |= self._stem(f"controller.encoder_dict.{stem}", f"qoi.stems.{m}.layers")
        return found

    def _stem(self, official: str, own: str) -> dict[str, Tensor]:
        normed = f"{official}.2.running_mean" in self.state
        found: dict[str, Tensor] = {}
        for i, (source, target) in enumerate(zip(STEMS[normed], OWN_STEM, strict=True)):
            part = self._linear(f"{official}.{source}", f"{own}.{target}")
            if normed and i < len(OWN_STEM) - 1:
                part = self._folded(part, f"{own}.{target}", f"{official}.{source + 1}")
            found |= part
        return found

    def _folded(self, conv: Mapping[str, Tensor], name: str, norm: str) -> dict[str, Tensor]:
        """Fold a batch norm, as it is at test time, into the convolution before it."""
        weight, bias = conv[f"{name}.weight"], conv[f"{name}.bias"]
        gain, shift, mean, variance = (self.take(f"{norm}.{part}", 1)
                                       for part in ("weight", "bias", "running_mean", "running_var"))
        if weight.ndim != 4 or {part.shape[:1] for part in (weight, gain, shift, mean, variance)} != {bias.shape}:
            raise ModelError(f"{self.place}: {norm}", f"{len(gain)} channels after a convolution "
                             f"{tuple(weight.shape)} with bias {tuple(bias.shape)}", "the channels of the convolution")
        if bool((variance < 0).any()):
            raise ModelError(f"{self.place}: {norm}.running_var", "a negative variance", "at least 0")
        gain = gain / torch.sqrt(variance + BATCH_NORM_EPS)
        return {f"{name}.weight": weight * gain[:, None, None, None],
                f"{name}.bias": (bias - mean) * gain + shift}


def ratio_of(hidden: int, dim: int) -> float:
    """Return the ratio for which `hidden_width` gives exactly this width; the plain quotient may round below it."""
    ratio = hidden / dim
    return ratio if hidden_width(dim, ratio) == hidden else math.nextafter(ratio, math.inf)


def _card(network: LegacyNetwork, report: ImportReport) -> str:
    return "\n".join([f"# {network.config.name}", "", "Imported from a checkpoint of the official ADMN release (BSD-3-"
                      "Clause, UCLA Networked & Embedded Systems Laboratory).", "", "```", str(report), "```", ""])
