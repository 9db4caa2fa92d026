# SPDX-License-Identifier: Apache-2.0
"""Model folders.

    config.yaml          modalities, preprocessing, shapes, classes, frame
    weights.safetensors  weights
    README.md            model card
    metrics.json         accuracy, written by `admn evaluate --save-metrics`; optional
    costs.yaml           measured costs, written by `admn profile`; optional
    legacy.yaml          kind of heads and controller of a model of the official release; other models have none
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from admn_ros.config import ModelConfig, config_text, load_config
from admn_ros.errors import InputError, ModelError
from admn_ros.files import write_errors, write_files
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.legacy_network import LegacyConfig, LegacyNetwork
from admn_ros.model.official.safe_unpickle import read_safetensors
from admn_ros.model.official.state_dict import as_floats, some_of
from admn_ros.model.qoi import QoiEncoder
from admn_ros.model.transformer import Block
from admn_ros.model.vit import AdaptiveViT, ConvStem, Points

CONFIG, WEIGHTS, CARD = "config.yaml", "weights.safetensors", "README.md"
METRICS, COSTS, LEGACY = "metrics.json", "costs.yaml", "legacy.yaml"
RENAMED = {"qoi.look.": "qoi.stems.", "localization.said.": "localization.output.",
           ".points.held.": ".points.keys_values."}
"""Parts of weight names in older files, and their names now."""
NAMED_KEYS = 3
"""Wrong weight names that an error lists; the others are counted."""
_NO_INFLUENCE = ("qoi.", "calibration.")
"""Parts that change neither positions nor predicted classes of given layers."""


def save_model(network: AdmnNetwork, folder: str | Path, card: str | None = None, *, half: bool = False) -> None:
    """Write a network as a model folder, in place of the weights and configuration that are there.

    Measured costs stay, because they do not depend on the weights. Metrics go, because they do.

    Args:
        network: network on any device.
        folder: model folder; created if needed.
        card: text of README.md; None writes a short one from the configuration.
        half: store the weights with 16 bits, in half the space. `load_model` makes them float32 again.

    Raises:
        InputError: the folder cannot be written, or a weight exceeds the range of 16 bits.
    """
    folder = Path(folder)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        weights = {name: _half(name, value) for name, value in weights.items()}
    texts = {CARD: card if card is not None else model_card(network), CONFIG: config_text(network.config)}
    if isinstance(network, LegacyNetwork):
        texts[LEGACY] = config_text(network.legacy)
    write_files(folder, {**{name: text.encode("utf-8") for name, text in texts.items()}, WEIGHTS: save(weights)})
    with write_errors(folder):
        for stale in {METRICS, LEGACY} - set(texts):
            (folder / stale).unlink(missing_ok=True)


def _half(name: str, value: Tensor) -> Tensor:
    """Return a weight with 16 bits."""
    if not value.is_floating_point():
        return value
    short = value.half()
    if bool((short.isinf() & value.isfinite()).any()):
        raise InputError(f"weight {name}", f"{float(value.abs().max()):.6g}", "at most 65504, in 16 bits")
    return short


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> AdmnNetwork:
    """Read a model folder. The network is in evaluation mode; it is a `LegacyNetwork` if there is a legacy.yaml.

    Raises:
        ModelError: the folder or a file is missing or broken, or the weights do not fit the
            configuration or are not finite.
        ConfigError: config.yaml or legacy.yaml is malformed.
    """
    folder = Path(folder)
    for path, what in ((folder, "a model folder"), (folder / CONFIG, "a file"), (folder / WEIGHTS, "a file")):
        if not path.exists():
            raise ModelError.missing(str(path), f"{what}; a model folder has {CONFIG} and {WEIGHTS}")
    config = load_config(ModelConfig, folder / CONFIG)
    legacy = load_config(LegacyConfig, folder / LEGACY) if (folder / LEGACY).exists() else None
    with torch.device("meta"):  # shapes only: a wrong configuration may describe a network beyond all memory
        described = _network(config, legacy).state_dict()
    weights = read_weights(folder / WEIGHTS, described)
    network = _network(config, legacy)
    network.load_state_dict(weights)
    return network.to(device).eval()


def _network(config: ModelConfig, legacy: LegacyConfig | None) -> AdmnNetwork:
    return AdmnNetwork(config) if legacy is None else LegacyNetwork(config, legacy)


def create_random_model(config: ModelConfig, folder: str | Path, seed: int, force: bool = False) -> AdmnNetwork:
    """Write a model folder with random weights, the same for the same seed, and return the network.

    Args:
        config: description of the model; `trained` and `seed` are set here.
        folder: folder to create.
        seed: seed of all weights.
        force: replace a model folder that is there, and remove its measured costs.

    Raises:
        ModelError: the folder holds a model and `force` is false.
    """
    folder = Path(folder)
    check_free(folder, force)
    network = AdmnNetwork(config.model_copy(update={"trained": False, "seed": seed}))
    initialize(network, seed)
    save_model(network, folder)
    (folder / COSTS).unlink(missing_ok=True)
    return network.eval()


def estimator_fingerprint(network: AdmnNetwork) -> str:
    """Hash the weights that positions and classes depend on once it is given which layers run.

    A model keeps it when its controller or its calibration is trained, and when it is stored with 16 bits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if not name.startswith(_NO_INFLUENCE):
            digest.update(f"{name} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().half().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_free(folder: Path, force: bool = False) -> None:
    """Check that no model, and no README.md of another folder such as a repository, is replaced by mistake.

    Raises:
        ModelError: a file has the folder's name, or the folder holds a file of a model and `force` is false.
    """
    if folder.exists() and not folder.is_dir():
        raise ModelError(str(folder), "a file", "a folder, or a new name")
    held = [name for name in (CONFIG, WEIGHTS, CARD, COSTS, METRICS) if (folder / name).exists()]
    if held and not force:
        raise ModelError(str(folder), f"files of a model ({', '.join(held)})", "a new folder, or force")


def initialize(network: nn.Module, seed: int) -> None:
    """Draw all weights: truncated normal (0.02) in the transformers, Xavier elsewhere, zero biases."""
    generator = torch.Generator().manual_seed(seed)
    transformer = {id(m) for part in network.modules() if isinstance(part, (Block, AdaptiveViT))
                   for m in part.modules()}
    transformer -= {id(m) for part in network.modules() if isinstance(part, (ConvStem, Points))
                    for m in part.modules()}
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                if id(module) in transformer:
                    nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
                else:
                    nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)
            elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
                module.reset_parameters()
            elif isinstance(module, AdaptiveViT):
                nn.init.trunc_normal_(module.cls_token, std=0.02, generator=generator)
                nn.init.trunc_normal_(module.pos_embed, std=0.02, generator=generator)
            elif isinstance(module, QoiEncoder):
                nn.init.trunc_normal_(module.cls_token, std=0.02, generator=generator)


def model_card(network: AdmnNetwork) -> str:
    """Return a model card made from the configuration alone."""
    config = network.config
    if config.trained:
        state = "Trained weights. The training is not documented here."
    else:
        state = (f"**UNTRAINED. The weights are random (seed {config.seed}). Every estimate of this model is\n"
                 "meaningless.** It has the shapes, the cost and the latency of a trained model, so it serves to\n"
                 "test a robot's topics, budgets and timing. Do not use its poses or labels for anything.")
    rows = [f"| {m} | {' x '.join(map(str, c.input.shape))} | {c.backbone.depth} | {c.backbone.dim} |"
            for m, c in config.modalities.items()]
    parameters = sum(p.numel() for p in network.parameters())
    return "\n".join([
        f"# {config.name}", "", state, "",
        f"Sensor nodes: {', '.join(config.sensor_nodes)}. Classes: {', '.join(config.classes)}. "
        f"Parameters: {parameters}.", "",
        "| modality | input (C x H x W) | layers | width |", "|---|---|---|---|", *rows, ""])


def read_weights(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read weights that have the expected names and shapes and are finite.

    Raises:
        ModelError: the file is broken or does not fit.
    """
    weights = read_safetensors(path)
    for old, new in RENAMED.items():
        weights = {name.replace(old, new): value for name, value in weights.items()}
    missing = [name for name in expected if name not in weights]
    unexpected = [name for name in weights if name not in expected]
    if missing or unexpected:
        found = [f"{what}: {some_of(names, NAMED_KEYS)}"
                 for what, names in (("missing", missing), ("unexpected", unexpected)) if names]
        raise ModelError(str(path), "; ".join(found), f"the {len(expected)} weights that {CONFIG} describes")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise ModelError(f"{path}: {name}", tuple(value.shape), tuple(expected[name].shape))
    return {name: as_floats(f"{path}: {name}", value) for name, value in weights.items()}
